'use strict';
// Traces of the Rust machine come in, one a line; the JavaScript machine has to do the same.

var fs = require('fs');
var Steadfast = require('../steadfast.js');
var playTrace = require('./conformance.js');

var lines = fs.readFileSync(0, 'utf8').split('\n').filter(Boolean);
if (!lines.length) {
  throw new Error('no trace came in');
}
var differences = lines.map(function (line) {
  return playTrace(Steadfast.machine, JSON.parse(line));
}).filter(Boolean);
if (differences.length) {
  console.log(differences.length + ' of ' + lines.length + ' traces differ; the first:\n' + differences[0]);
  process.exit(1);
}
console.log(lines.length + ' traces agree');
