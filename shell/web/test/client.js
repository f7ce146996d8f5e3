'use strict';
// The client with stand-ins for clock, sockets, storage and WeChat.

var assert = require('assert');
var test = require('node:test');

var SOURCE = require.resolve('../steadfast.js');

/** A fresh copy of the script, as a page that loads it has; `globals` are there while it is loaded. */
function load(globals) {
  Object.keys(globals || {}).forEach(function (name) { global[name] = globals[name]; });
  delete require.cache[SOURCE];
  var Steadfast = require(SOURCE);
  Object.keys(globals || {}).forEach(function (name) { delete global[name]; });
  return Steadfast;
}

/** Time that passes when it is told to. */
function fakeClock() {
  var now = 1795224000000;
  var timers = [];
  return {
    now: function () { return now; },
    setTimeout: function (call, delay) {
      var timer = { at: now + delay, call: call };
      timers.push(timer);
      return timer;
    },
    clearTimeout: function (timer) {
      timers = timers.filter(function (other) { return other !== timer; });
    },
    pass: function (ms) {
      var until = now + ms;
      for (;;) {
        var due = timers.filter(function (timer) { return timer.at <= until; })
          .sort(function (a, b) { return a.at - b.at; })[0];
        if (!due) {
          now = until;
          return;
        }
        this.clearTimeout(due);
        now = Math.max(now, due.at);
        due.call();
      }
    }
  };
}

function fakeStorage() {
  var items = {};
  return {
    items: items,
    getItem: function (name) { return name in items ? items[name] : null; },
    setItem: function (name, value) { items[name] = String(value); },
    removeItem: function (name) { delete items[name]; }
  };
}

/** Everything around a client, and what it sees. */
function world() {
  var self = { clock: fakeClock(), storage: fakeStorage(), sockets: [], seen: [], errors: [], states: [] };
  self.options = function (more) {
    var options = {
      key: '7',
      url: 'wss://gateway/',
      clock: self.clock,
      storage: self.storage,
      random: function () { return 0; },
      socket: function (url, protocol, events) {
        var socket = { url: url, protocol: protocol, events: events, sent: [], isClosed: false };
        socket.send = function (text) { socket.sent.push(JSON.parse(text)); };
        socket.close = function () { socket.isClosed = true; };
        self.sockets.push(socket);
        return socket;
      },
      onMessage: function (data, meta) { self.seen.push(meta.id + ' ' + data); },
      onStateChange: function (state, old) { self.states.push(old + ' ' + state); },
      onError: function (problem) { self.errors.push(problem.code); }
    };
    Object.keys(more || {}).forEach(function (name) { options[name] = more[name]; });
    return options;
  };
  self.socket = function () { return self.sockets[self.sockets.length - 1]; };
  self.tell = function (frame) { self.socket().events.text(JSON.stringify(frame)); };
  self.message = function (id) { self.tell({ type: 'message', id: id, data: 'data', tries: 0 }); };
  self.welcome = function (resumed, applied) {
    self.socket().events.open('steadfast.v1');
    self.tell({
      type: 'welcome', session: 's1', resumed: !!resumed, lost: false, applied: applied || 0,
      context: { page: 1 }, heartbeat_ms: 15000
    });
  };
  return self;
}

test('each message comes once and is acknowledged each time', function () {
  var w = world();
  var Steadfast = load();
  var link = new Steadfast(w.options()).connect();
  assert.strictEqual(w.socket().protocol, 'steadfast.v1');
  w.welcome();
  w.message('1-1');
  w.message('1-1');
  assert.deepStrictEqual(w.seen, ['1-1 data']);
  assert.deepStrictEqual(w.socket().sent, [
    { type: 'hello', key: '7' }, { type: 'ack', id: '1-1' }, { type: 'ack', id: '1-1' }
  ]);
  assert.deepStrictEqual(w.states, ['disconnected connecting', 'connecting connected']);
  assert.strictEqual(link.getStatistics().duplicates, 1);
  link.close();
  assert.deepStrictEqual(w.socket().sent.pop(), { type: 'bye' });
  assert(w.socket().isClosed);
  assert.strictEqual(link.getState(), 'disconnected');
});

test('a reloaded page goes on where the old one was', function () {
  var w = world();
  new (load())(w.options()).connect();
  w.welcome();
  w.message('1-1');
  w.message('1-2');
  var Steadfast = load();
  var link = new Steadfast(w.options());
  link.update({ page: null, tab: { a: 1 } });
  link.connect();
  w.welcome(true);
  w.message('1-2');
  w.message('1-3');
  assert.deepStrictEqual(w.socket().sent, [
    { type: 'hello', key: '7', session: 's1', last: '1-2' },
    { type: 'op', n: 1, patch: { page: null, tab: { a: 1 } } },
    { type: 'ack', id: '1-2' },
    { type: 'ack', id: '1-3' }
  ]);
  assert.deepStrictEqual(w.seen, ['1-1 data', '1-2 data', '1-3 data']);
  assert.deepStrictEqual(link.getContext(), { tab: { a: 1 } });
  // Not confirmed yet: another page sends it again, and counts on from it.
  new (load())(w.options()).connect();
  w.welcome(true, 0);
  assert.deepStrictEqual(w.socket().sent[1], { type: 'op', n: 1, patch: { page: null, tab: { a: 1 } } });
  w.tell({ type: 'op_ack', n: 1 });
  var last = new (load())(w.options()).connect();
  w.welcome(true, 1);
  last.update({ page: 2 });
  assert.deepStrictEqual(w.socket().sent.slice(1), [{ type: 'op', n: 2, patch: { page: 2 } }]);
});

test('4,096 ids and not many more are remembered across reloads', function () {
  var w = world();
  new (load())(w.options()).connect();
  w.welcome();
  for (var id = 1; id <= 10000; id += 1) {
    w.message('1-' + id);
  }
  assert.strictEqual(w.seen.length, 10000);
  assert(Object.keys(w.storage.items).length <= 67, 'old blocks are removed');
  new (load())(w.options()).connect();
  w.welcome(true);
  w.message('1-' + (10000 - 4095));
  w.message('1-10000');
  assert.strictEqual(w.seen.length, 10000, 'all of them are known');
  w.message('1-10001');
  assert.strictEqual(w.seen.length, 10001);
});

test('instances for the same share one connection', function () {
  var w = world();
  var Steadfast = load();
  var heard = [];
  var first = new Steadfast(w.options()).connect();
  var second = new Steadfast(w.options({ onMessage: function (data) { heard.push(data); } })).connect();
  var other = new Steadfast(w.options({ key: '8' })).connect();
  assert.strictEqual(w.sockets.length, 2);
  other.close();
  w.sockets.pop();
  w.welcome();
  w.message('1-1');
  assert.deepStrictEqual([w.seen.length, heard.length], [1, 1]);
  w.socket().events.close(1006);
  w.clock.pass(999);
  assert.strictEqual(w.sockets.length, 1);
  w.clock.pass(1);
  assert.strictEqual(w.sockets.length, 2, 'one reconnect for both');
  w.welcome(true);
  first.close();
  assert.strictEqual(second.getState(), 'connected');
  second.close();
  assert.strictEqual(second.getState(), 'disconnected');
});

test('what browsers hide is put in words', function () {
  var w = world();
  var Steadfast = load();
  var problems = [];
  function open(more) {
    more.onError = function (problem) { problems.push(problem); };
    return new Steadfast(w.options(more)).connect();
  }
  var link = open({ key: 'a', socket: function () { throw Object.assign(new Error('no'), { name: 'SecurityError' }); } });
  assert.strictEqual(link.getState(), 'reconnecting');
  assert.match(problems[0].message, /wss:\/\//);
  w.clock.pass(60000);
  open({ key: 'b' });
  w.socket().events.close(1006);
  open({ key: 'c' });
  w.socket().events.open('');
  assert(w.socket().isClosed);
  var refused = open({ key: 'd' });
  w.welcome();
  w.tell({ type: 'error', code: 1008, reason: 'key reserved' });
  assert.strictEqual(refused.getState(), 'disconnected');
  assert.deepStrictEqual(problems.map(function (problem) { return problem.code; }), [
    'insecure', 'unreachable', 'protocol', 'gateway', 'refused'
  ], 'and each only once');
  ['', '  ', 7].forEach(function (key) {
    assert.throws(function () { new Steadfast(w.options({ key: key })); }, TypeError);
  });
  ['http://a/', 'gateway', undefined].forEach(function (url) {
    assert.throws(function () { new Steadfast(w.options({ url: url })); }, TypeError);
  });
});

test('a handler that throws stops nothing', function () {
  var w = world();
  var Steadfast = load();
  new Steadfast(w.options({ onMessage: function () { throw new Error('a mistake'); } })).connect();
  w.welcome();
  w.message('1-1');
  w.message('1-2');
  assert.strictEqual(w.socket().sent.length, 3, 'both are acknowledged');
  assert.throws(function () { w.clock.pass(0); }, /a mistake/);
});

test('a handler may close and update', function () {
  var w = world();
  var Steadfast = load();
  var link = new Steadfast(w.options({
    onMessage: function () {
      link.update({ seen: 1 });
      link.close();
    }
  })).connect();
  w.welcome();
  w.message('1-1');
  assert.deepStrictEqual(w.socket().sent.map(function (frame) { return frame.type; }), ['hello', 'ack', 'op', 'bye']);
});

test('the page is told of its network and its user', function () {
  var w = world();
  var listeners = {};
  var page = {
    addEventListener: function (name, call) { listeners[name] = call; },
    document: { hidden: false, addEventListener: function (name, call) { listeners[name] = call; } }
  };
  var Steadfast = load({ self: page });
  new Steadfast(w.options({ fallback: false })).connect();
  w.welcome();
  listeners.offline();
  assert.deepStrictEqual(w.socket().sent.pop(), { type: 'ping' });
  w.clock.pass(3000);
  assert.strictEqual(w.states.pop(), 'connected reconnecting');
  [1000, 1400].forEach(function (delay) {
    w.clock.pass(delay);
    w.socket().events.close(1006);
  });
  var count = w.sockets.length;
  w.clock.pass(1000);
  page.document.hidden = true;
  listeners.visibilitychange();
  assert.strictEqual(w.sockets.length, count);
  page.document.hidden = false;
  listeners.visibilitychange();
  w.clock.pass(0);
  assert.strictEqual(w.sockets.length, count + 1);
});

/** A stand-in for WeChat: sockets that fail, requests that are answered by hand. */
function fakeWx(storage) {
  var self = { sockets: [], requests: [], hints: {} };
  self.connectSocket = function (options) {
    var task = { options: options, on: {}, sent: [] };
    ['onOpen', 'onMessage', 'onClose', 'onError'].forEach(function (name) {
      task[name] = function (call) { task.on[name] = call; };
    });
    task.send = function (message) { task.sent.push(JSON.parse(message.data)); };
    task.close = function () { task.isClosed = true; };
    self.sockets.push(task);
    return task;
  };
  self.request = function (options) {
    self.requests.push(options);
    return { abort: function () { options.isAborted = true; } };
  };
  self.getStorageSync = function (name) { return storage.getItem(name) || ''; };
  self.setStorageSync = storage.setItem;
  self.removeStorageSync = storage.removeItem;
  self.onNetworkStatusChange = function (call) { self.hints.network = call; };
  self.onAppShow = function (call) { self.hints.show = call; };
  return self;
}

test('in a mini-program it uses what WeChat has, and long-polls where sockets fail', async function () {
  var w = world();
  var wx = fakeWx(w.storage);
  global.wx = wx;
  var Steadfast = load();
  delete global.wx;
  var link = new Steadfast(w.options({ socket: undefined, storage: undefined, url: 'wss://gateway/ws' })).connect();
  assert.deepStrictEqual(wx.sockets[0].options.protocols, ['steadfast.v1']);
  wx.sockets[0].on.onError({ errMsg: 'no' });
  w.clock.pass(1000);
  wx.sockets[1].options.fail({ errMsg: 'no' });
  w.clock.pass(1400);
  await new Promise(function (resolve) { setTimeout(resolve, 0); });
  var hello = wx.requests.shift();
  assert.deepStrictEqual([hello.method, hello.url], ['POST', 'https://gateway/poll']);
  assert.deepStrictEqual(JSON.parse(hello.data), { type: 'hello', key: '7' });
  function answer(request, frames, after) {
    request.success({ statusCode: 200, data: JSON.stringify({ frames: frames, after: after }) });
  }
  answer(hello, [
    { type: 'welcome', session: 'p1', resumed: false, lost: false, applied: 0, context: {}, heartbeat_ms: 15000 },
    { type: 'message', id: '1-1', data: 'polled', tries: 1 }
  ], '1');
  assert.strictEqual(link.getState(), 'fallback');
  assert.deepStrictEqual(w.seen, ['1-1 polled']);
  link.update({ a: 1 });
  var get = wx.requests.filter(function (request) { return request.method === 'GET'; })[0];
  var posts = wx.requests.filter(function (request) { return request.method === 'POST'; });
  assert.strictEqual(get.url, 'https://gateway/poll?session=p1&after=1&wait=20000');
  assert.strictEqual(posts.length, 1, 'one post at a time');
  assert.deepStrictEqual(JSON.parse(posts[0].data), [{ type: 'ack', id: '1-1' }]);
  wx.requests = [];
  posts[0].success({ statusCode: 200, data: '{}' });
  assert.deepStrictEqual(JSON.parse(wx.requests[0].data), [{ type: 'op', n: 1, patch: { a: 1 } }]);
  // A socket gets through: it takes over, and the poll ends.
  w.clock.pass(1000);
  var socket = wx.sockets[2];
  socket.on.onOpen();
  assert.deepStrictEqual(socket.sent, [{ type: 'hello', key: '7', session: 'p1', last: '1-1' }]);
  socket.on.onMessage({ data: JSON.stringify({
    type: 'welcome', session: 'p1', resumed: true, lost: false, applied: 1, context: { a: 1 }, heartbeat_ms: 15000
  }) });
  assert.strictEqual(link.getState(), 'connected');
  assert(get.isAborted);
  wx.hints.network({ isConnected: false });
  assert.deepStrictEqual(socket.sent.pop(), { type: 'ping' });
  // The mini-program is started again.
  global.wx = wx;
  var again = load();
  delete global.wx;
  new again(w.options({ socket: undefined, storage: undefined, url: 'wss://gateway/ws' })).connect();
  wx.sockets[3].on.onOpen();
  assert.strictEqual(wx.sockets[3].sent[0].session, 'p1');
  link.close();
});
