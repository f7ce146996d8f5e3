/*
 * Plays traces of the Rust machine through the JavaScript one: the same events and draws have to give the
 * same commands, deadlines, states and figures. Runs in Node and, from the browser tests, in a page.
 */
(function (root, factory) {
  'use strict';
  if (typeof module === 'object' && module.exports) {
    module.exports = factory();
  } else {
    root.playTrace = factory();
  }
})(typeof globalThis !== 'undefined' ? globalThis : this, function () {
  'use strict';

  /** What differs first, or null. */
  function playTrace(machine, trace) {
    var drawn = 0;
    var link = machine(trace.config, function () {
      drawn += 1;
      return trace.draws[drawn - 1] / 4294967296;
    });
    for (var index = 0; index < trace.steps.length; index += 1) {
      var step = trace.steps[index];
      var got = {
        at: step.at,
        event: step.event,
        commands: link.handle(step.at, step.event),
        deadline: link.nextDeadline(),
        state: link.state()
      };
      var expected = JSON.stringify(step);
      var found = JSON.stringify(got);
      if (found !== expected) {
        return 'seed ' + trace.seed + ', step ' + index + ':\nexpected ' + expected + '\nfound    ' + found;
      }
    }
    var last = trace.steps[trace.steps.length - 1];
    var figures = JSON.stringify(link.statistics(last.at));
    var expectedFigures = JSON.stringify(trace.statistics);
    if (figures !== expectedFigures) {
      return 'seed ' + trace.seed + ':\nexpected ' + expectedFigures + '\nfound    ' + figures;
    }
    return null;
  }

  return playTrace;
});
