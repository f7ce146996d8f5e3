'use strict';
// Real pages in a real browser against a real daemon: `node browser.js DAEMON`, with traces of the Rust
// machine on standard input. Waits are for what can be seen, with deadlines.

var assert = require('assert');
var childProcess = require('child_process');
var fs = require('fs');
var net = require('net');
var os = require('os');
var path = require('path');
var chromium = require('playwright-core').chromium;

var DAEMON = path.resolve(process.argv[2]);
var DEADLINE = 30000;
var home = fs.mkdtempSync(path.join(os.tmpdir(), 'steadfast-browser-'));
var children = [];

function until(what, isSo) {
  var deadline = Date.now() + DEADLINE;
  return new Promise(function (resolve, reject) {
    (function look() {
      Promise.resolve(isSo()).then(function (answer) {
        if (answer) {
          resolve(answer);
        } else if (Date.now() > deadline) {
          reject(new Error('never: ' + what));
        } else {
          setTimeout(look, 10);
        }
      }, reject);
    })();
  });
}

/** Starts the daemon; on the ports it had before, if it had. */
function startDaemon(ports) {
  var child = childProcess.spawn(DAEMON, [
    '--ws', '127.0.0.1:' + ports.ws, '--push', '127.0.0.1:' + ports.push, '--admin', 'off',
    '--data', path.join(home, 'data'), '--log-level', 'warn'
  ], { cwd: home, stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  var said = '';
  child.stdout.on('data', function (data) { said += data; });
  return until('the daemon is ready', function () {
    assert.strictEqual(child.exitCode, null, 'the daemon ended: ' + said);
    return /ready ws=127\.0\.0\.1:(\d+) push=127\.0\.0\.1:(\d+)/.exec(said);
  }).then(function (found) {
    return { child: child, ws: Number(found[1]), push: Number(found[2]) };
  });
}

function kill(daemon) {
  return new Promise(function (resolve) {
    daemon.child.on('exit', resolve);
    daemon.child.kill('SIGKILL');
  });
}

/** Pushes lines and waits for as many replies, none of them `fail`. */
function push(daemon, lines) {
  return new Promise(function (resolve, reject) {
    var replies = '';
    var socket = net.connect(daemon.push, '127.0.0.1', function () {
      socket.write(lines.map(function (line) { return JSON.stringify(line) + '\n'; }).join(''));
    });
    socket.on('error', reject);
    socket.on('data', function (data) {
      replies += data;
      var got = replies.split('\n').slice(0, -1);
      if (got.length === lines.length) {
        socket.destroy();
        if (got.indexOf('fail') >= 0) {
          reject(new Error('a push failed'));
        } else {
          resolve();
        }
      }
    });
  });
}

/** What stands between the pages and the daemon; it can refuse WebSockets, and cut what is open. */
function startProxy(daemon) {
  var open = [];
  var proxy = { isBlocking: false };
  proxy.cut = function () {
    open.splice(0).forEach(function (socket) { socket.destroy(); });
  };
  var server = net.createServer(function (client) {
    var upstream = null;
    open.push(client);
    client.on('error', function () {});
    client.once('data', function (head) {
      if (proxy.isBlocking && /\r\nupgrade: *websocket/i.test(head.toString('latin1'))) {
        client.destroy();
        return;
      }
      upstream = net.connect(daemon().ws, '127.0.0.1');
      upstream.on('error', function () { client.destroy(); });
      upstream.on('close', function () { client.destroy(); });
      client.on('close', function () { upstream.destroy(); });
      upstream.write(head);
      client.pipe(upstream);
      upstream.pipe(client);
    });
  });
  return new Promise(function (resolve) {
    server.listen(0, '127.0.0.1', function () {
      proxy.url = '127.0.0.1:' + server.address().port;
      proxy.stop = function () {
        proxy.cut();
        server.close();
      };
      resolve(proxy);
    });
  });
}

/** A page that listens for a key, and what was pushed to it. */
function Listener(key, isLegacy) {
  this.key = key;
  this.isLegacy = isLegacy;
  this.pushed = [];
  this.states = [];
  this.welcomes = [];
  this.errors = [];
}

Listener.prototype.open = async function (browser, proxy) {
  var self = this;
  this.context = await browser.newContext();
  this.page = await this.context.newPage();
  this.page.on('pageerror', function (error) { self.errors.push(String(error)); });
  await this.page.addInitScript(keepInPage);
  await this.page.exposeFunction('onState', function (state) { self.states.push(state); });
  await this.page.exposeFunction('onWelcome', function (welcome) { self.welcomes.push(welcome); });
  await this.page.goto('http://' + proxy.url + '/');
  await this.listen();
};

/** Starts to listen, in a page that was just loaded. */
Listener.prototype.listen = function () {
  if (!this.isLegacy) {
    return this.page.evaluate(listenByLink, this.key);
  }
  return this.page.addScriptTag({ content: listenAsBefore + '; listenAsBefore(' + JSON.stringify(this.key) + ');' });
};

/**
 * What every page starts with. It keeps what it gets where it finds it after a reload: what it would tell this
 * script could be lost on the way while it goes.
 */
function keepInPage() {
  window.got = function () { return JSON.parse(sessionStorage.getItem('got') || '[]'); };
  window.onGot = function (data) { sessionStorage.setItem('got', JSON.stringify(window.got().concat(data))); };
}

/** What runs in pages of the link protocol. */
function listenByLink(key) {
  window.link = new window.Steadfast({
    key: key,
    delayMin: 300,
    onMessage: window.onGot,
    onStateChange: window.onState,
    onWelcomed: window.onWelcome
  }).connect();
}

/** What the pages of the original do: the key as heartbeat, a reconnect every second. */
function listenAsBefore(key) {
  var socket = new WebSocket('ws://' + location.host + '/');
  var beat = null;
  socket.onopen = function () {
    window.onState('connected');
    socket.send(key);
    beat = setInterval(function () { socket.send(key); }, 5000);
  };
  socket.onmessage = function (event) {
    if (event.data !== 'biubiubiu') {
      window.onGot(event.data);
    }
  };
  socket.onclose = function () {
    clearInterval(beat);
    setTimeout(function () { window.listenAsBefore(key); }, 1000);
  };
}

Listener.prototype.lines = function (count) {
  var lines = [];
  for (var i = 0; i < count; i += 1) {
    var line = { uid: this.key, n: this.pushed.length };
    this.pushed.push(JSON.stringify(line));
    lines.push(line);
  }
  return lines;
};

Listener.prototype.got = function () {
  return this.page.evaluate(function () { return window.got(); });
};

Listener.prototype.hasAll = async function () {
  var self = this;
  var got = [];
  try {
    await until(this.key + ' has everything', async function () {
      got = await self.got();
      return new Set(got).size >= self.pushed.length;
    });
  } catch (error) {
    var missing = this.pushed.filter(function (line) { return got.indexOf(line) < 0; });
    throw new Error(error.message + ', but ' + missing.join(' ') + '; ' + this.states.join(' '));
  }
};

Listener.prototype.state = function (state) {
  var self = this;
  return until(this.key + ' is ' + state, function () { return self.states[self.states.length - 1] === state; });
};

async function pushToAll(daemon, listeners, count) {
  for (var i = 0; i < count; i += 1) {
    var lines = [];
    listeners.forEach(function (listener) { lines = lines.concat(listener.lines(1)); });
    await push(daemon, lines);
  }
}

/**
 * Everything once, in order, and nothing else. What the gateway's death leaves unsettled comes again to clients
 * of the old protocol, which have no acknowledgement: there repeats count once.
 */
async function judge(listeners) {
  for (var listener of listeners) {
    var got = await listener.got();
    assert.deepStrictEqual(listener.isLegacy ? Array.from(new Set(got)) : got, listener.pushed, listener.key);
    assert.deepStrictEqual(listener.errors, [], listener.key);
  }
}

function step(name) {
  console.log(((Date.now() - started) / 1000).toFixed(1) + ' s  ' + name);
}

var started = Date.now();

async function run() {
  var daemon = await startDaemon({ ws: 0, push: 0 });
  var proxy = await startProxy(function () { return daemon; });
  var browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync']
  });
  try {
    var seven = new Listener('page-seven');
    var eight = new Listener('{"uid":"8","FunctionType":4}');
    var legacy = new Listener('70012345', true);
    var all = [seven, eight, legacy];
    for (var listener of all) {
      await listener.open(browser, proxy);
      await listener.state('connected');
    }

    step('the machines agree in the browser');
    await seven.page.addScriptTag({ path: path.join(__dirname, 'conformance.js') });
    var lines = fs.readFileSync(0, 'utf8').split('\n').filter(Boolean);
    assert(lines.length > 0, 'no trace came in');
    var differences = await seven.page.evaluate(function (texts) {
      return texts.map(function (text) {
        return window.playTrace(window.Steadfast.machine, JSON.parse(text));
      }).filter(Boolean);
    }, lines);
    assert.deepStrictEqual(differences, []);

    step('messages come to their pages');
    await pushToAll(daemon, all, 20);
    for (listener of all) { await listener.hasAll(); }
    await judge(all);

    step('the daemon is killed and started again');
    await kill(daemon);
    await seven.state('reconnecting');
    await eight.state('reconnecting');
    daemon = await startDaemon(daemon);
    await pushToAll(daemon, all, 20);
    for (listener of all) { await listener.hasAll(); }
    await judge(all);
    assert(seven.welcomes.every(function (welcome, index) { return welcome.resumed === index > 0 && !welcome.lost; }));

    step('a reloaded page resumes');
    var welcomes = seven.welcomes.length;
    await seven.page.evaluate(function () { window.link.update({ page: 3 }); });
    await pushToAll(daemon, all, 5);
    await seven.page.reload();
    await pushToAll(daemon, all, 5);
    await seven.listen();
    await until('it is welcomed', function () { return seven.welcomes.length > welcomes; });
    assert.deepStrictEqual(seven.welcomes[welcomes], { resumed: true, lost: false, context: { page: 3 } });
    for (listener of all) { await listener.hasAll(); }
    await judge(all);

    step('offline, and online again');
    await seven.context.setOffline(true);
    proxy.cut();
    await seven.state('reconnecting');
    await pushToAll(daemon, all, 5);
    await seven.context.setOffline(false);
    for (listener of all) { await listener.hasAll(); }
    await seven.state('connected');
    await judge(all);

    step('WebSockets are blocked, and messages come by long-poll');
    proxy.isBlocking = true;
    proxy.cut();
    await seven.state('fallback');
    await eight.state('fallback');
    await pushToAll(daemon, [seven, eight], 10);
    await eight.page.evaluate(function () { window.link.update({ by: 'poll' }); });
    for (listener of [seven, eight]) { await listener.hasAll(); }
    await judge([seven, eight]);

    step('WebSockets get through again');
    proxy.isBlocking = false;
    for (listener of all) { await listener.state('connected'); }
    await pushToAll(daemon, all, 5);
    for (listener of all) { await listener.hasAll(); }
    await judge(all);
    assert.deepStrictEqual(await eight.page.evaluate(function () { return window.link.getContext(); }), { by: 'poll' });

    step('done');
  } finally {
    await browser.close();
    proxy.stop();
  }
}

run().then(function () { return 0; }, function (error) {
  console.error(error.stack);
  return 1;
}).then(function (status) {
  children.forEach(function (child) { child.kill('SIGKILL'); });
  fs.rmSync(home, { recursive: true, force: true });
  process.exit(status);
});
