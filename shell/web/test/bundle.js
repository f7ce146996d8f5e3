'use strict';
// The client is ECMAScript 5, what is served is made from it, and small.

var assert = require('assert');
var fs = require('fs');
var path = require('path');
var zlib = require('zlib');
var acorn = require('acorn');
var minify = require('../minify.js');

var MOST_MINIFIED = 16 * 1024;
var MOST_ZIPPED = 6 * 1024;

function read(name) {
  return fs.readFileSync(path.join(__dirname, '..', name), 'utf8');
}

assert.throws(function () { acorn.parse('let a = 1', { ecmaVersion: 5 }); }, 'the parser refuses newer scripts');
['steadfast.js', 'steadfast.min.js'].forEach(function (name) {
  acorn.parse(read(name), { ecmaVersion: 5 });
});

minify().then(function (made) {
  assert.strictEqual(made, read('steadfast.min.js'), 'steadfast.min.js is out of date: run `npm run build`');
  var zipped = zlib.gzipSync(made, { level: 9 }).length;
  console.log(made.length + ' bytes minified, ' + zipped + ' gzipped');
  assert(made.length <= MOST_MINIFIED, 'at most ' + MOST_MINIFIED + ' bytes minified');
  assert(zipped <= MOST_ZIPPED, 'at most ' + MOST_ZIPPED + ' bytes gzipped');
}).catch(function (error) {
  console.error(error.message);
  process.exit(1);
});
