'use strict';
// How steadfast.min.js is made: `minify().then(text => …)`.

var fs = require('fs');
var path = require('path');
var terser = require('terser');

/** Members that nothing outside of the script sees. */
var INTERNAL = /^(openUntil|failures|phase|patches|saved|join|leave|env|link)$/;

module.exports = function minify() {
  var source = fs.readFileSync(path.join(__dirname, 'steadfast.js'), 'utf8');
  return terser.minify(source, { ecma: 5, compress: { passes: 2 }, mangle: { properties: { regex: INTERNAL } }, format: { comments: false } })
    .then(function (result) { return result.code + '\n'; });
};
