'use strict';
// Writes steadfast.min.js, which the daemon serves.

var fs = require('fs');
var path = require('path');

require('./minify.js')().then(function (text) {
  fs.writeFileSync(path.join(__dirname, 'steadfast.min.js'), text);
});
