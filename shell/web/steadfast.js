/*
 * Steadfast: the client of the link protocol `steadfast.v1`, for browsers, Office add-ins and WeChat
 * mini-programs. One file, ECMAScript 5, no dependencies. MIT license.
 *
 * In this order: the machine, which is `Link` of steadfast-core once more (no I/O, no clock, the same
 * events and the same draws give the same commands); the channels, a WebSocket and long-polls; the hub,
 * which holds one machine for all instances of the page that ask for the same; and `Steadfast`, what
 * applications use.
 */
(function (root, make) {
  if (typeof module === 'object' && module.exports) {
    module.exports = make(root);
  } else {
    root.Steadfast = make(root);
  }
})(typeof self === 'undefined' ? {} : self, function (root) {
  'use strict';

  var SUBPROTOCOL = 'steadfast.v1';
  /** Later than any deadline. */
  var NEVER = Infinity;
  var DISCONNECTED = 'disconnected';
  var CONNECTING = 'connecting';
  var CONNECTED = 'connected';
  var RECONNECTING = 'reconnecting';
  var FALLBACK = 'fallback';
  var WEB_SOCKET = 'ws';
  var LONG_POLL = 'poll';
  /** How long a long-poll waits for a message. */
  var POLL_WAIT = 20000;

  // How far a channel has come: a standby says nothing until it is needed.
  var OPENING = 1;
  var SILENT = 2;
  var GREETED = 3;
  var WELCOMED = 4;

  /** The settings of a machine; times in milliseconds. */
  var DEFAULTS = {
    fallback: true,
    standby: false,
    delayMin: 1000,
    delayMax: 30000,
    probeDelayMax: 60000,
    delayFactor: 2,
    jitterPercent: 30,
    maxAttempts: null,
    openTimeout: 10000,
    stableAfter: 5000,
    slotMax: 3600000,
    heartbeatInterval: 15000,
    heartbeatTimeout: 10000,
    missedMax: 2,
    healthInterval: 5000,
    idlePing: 60000,
    idleMax: 120000,
    probeTimeout: 3000,
    wakeAfter: 10000,
    breakerFailures: 5,
    breakerPause: 30000,
    seenMax: 4096,
    opsMax: 1000
  };

  // ---------------------------------------------------------------- frames

  function isText(value) {
    return typeof value === 'string';
  }

  function isObject(value) {
    return value && typeof value === 'object' && !Array.isArray(value);
  }

  /** The frames of the gateway, and a member of each type that they have to have. */
  var FRAMES = {
    welcome: { session: '', resumed: true, lost: true, applied: 0, heartbeat_ms: 0 },
    message: { id: '', data: '', tries: 0 },
    heartbeat_ack: {},
    pong: {},
    op_ack: { n: 0 },
    retry: { after_ms: 0 },
    error: { code: 0, reason: '' }
  };

  function parse(text) {
    try {
      return JSON.parse(text);
    } catch (ignored) {
      return null;
    }
  }

  /** The frame in a text of the gateway; an empty one when it is none. */
  function parseFrame(text) {
    var frame = parse(text) || {};
    var members = FRAMES.hasOwnProperty(frame.type) && FRAMES[frame.type];
    return members && Object.keys(members).every(function (name) { return typeof frame[name] === typeof members[name]; }) ? frame : {};
  }

  // ---------------------------------------------------------------- machine

  /** Delays that grow: called, the shortest and the longest that the next may be; `true` starts over. */
  function backoff(config, max, maxAttempts) {
    var retries = 0;
    return function (startOver) {
      if (startOver) {
        retries = 0;
        return null;
      }
      if (maxAttempts !== null && retries >= maxAttempts) {
        return null;
      }
      var base = Math.max(Math.min(config.delayMin * Math.pow(config.delayFactor, retries), max), config.delayMin);
      retries += 1;
      var spread = Math.floor(base * config.jitterPercent / 100);
      return [Math.max(base - spread, config.delayMin), base + spread];
    };
  }

  /**
   * The client's state machine. Events and commands are arrays whose first element names them;
   * `config.urls`, `config.key` and `config.token` stand beside the members of `DEFAULTS`.
   */
  function machine(config, random) {
    var state = DISCONNECTED;
    var main = null;
    var channels = 0;
    var session = null;
    var commands = [];

    // The messages that the application has had.
    var seen = {};
    var seenOrder = [];
    // The ops that the gateway has not confirmed.
    var ops = [];
    var lastOp = 0;

    // The attempts at a main channel.
    var delays = backoff(config, config.delayMax, config.maxAttempts);
    var welcomeBy = NEVER;
    var stableAt = NEVER;
    var retryAt = NEVER;
    var slot = 0;
    var isSlot = false;
    var lostAt = 0;
    var isRetry = false;

    // The route: where the next attempt goes.
    var endpoints = config.urls.map(endpoint);
    var at = 0;
    var failures = 0;
    var usedUp = 0;
    var nextBy = WEB_SOCKET;

    // The second channel: a way back from the fallback, or a standby.
    var spare = null;
    var spareDelays = backoff(config, config.probeDelayMax, null);
    var spareAt = NEVER;
    var spareBy = NEVER;
    var spareLostAt = 0;

    // The pulse of a welcomed WebSocket.
    var interval = 0;
    var beatAt = NEVER;
    var answerBy = NEVER;
    var healthAt = NEVER;
    var probeBy = NEVER;
    var sentAt = 0;
    var missed = 0;
    var heardAt = 0;
    var pinged = false;

    // The quality of the network.
    var rtt = null;
    var loss = 0;
    var windowLength = 0;
    var lastWindowLength = 0;
    var falling = 0;

    // The figures.
    var total = 0;
    var successful = 0;
    var failed = 0;
    var messages = 0;
    var duplicates = 0;
    var lastConnectedAt = null;
    var lastDisconnectedAt = null;
    var startedAt = null;
    var downSince = null;
    var startedFor = 0;
    var downtime = 0;

    function put() {
      commands.push([].slice.call(arguments));
    }

    function isLive() {
      return state === CONNECTED || state === FALLBACK;
    }

    function enter(next) {
      var old = state;
      state = next;
      if (old !== next) {
        put('state', old, next);
      }
    }

    function between(bounds) {
      return bounds[0] + Math.floor(random() * (bounds[1] - bounds[0] + 1));
    }

    function open(url, by) {
      channels += 1;
      put('open', channels, url, by);
      return { id: channels, url: url, by: by, phase: OPENING };
    }

    function send(text) {
      if (main) {
        put('send', main.id, text);
      }
    }

    function sendOp(op) {
      send('{"type":"op","n":' + op[0] + ',"patch":' + op[1] + '}');
    }

    function ping() {
      send('{"type":"ping"}');
    }

    function greet(channel) {
      channel.phase = GREETED;
      put('send', channel.id, JSON.stringify({
        type: 'hello',
        key: config.key,
        token: (typeof config.token === 'function' ? config.token() : config.token) || undefined,
        session: session || undefined,
        last: seenOrder[seenOrder.length - 1]
      }));
    }

    // ---- the route

    function endpoint(url) {
      return { url: url, failures: 0, openUntil: 0 };
    }

    function find(url) {
      return endpoints.filter(function (known) { return known.url === url; })[0];
    }

    function reset(known) {
      known.failures = known.openUntil = 0;
    }

    function isUsedUp() {
      return config.fallback && usedUp >= endpoints.length;
    }

    function rotate() {
      at = (at + 1) % endpoints.length;
      failures = 0;
    }

    /** Goes on to the first endpoint whose breaker is closed; says whether there is one. */
    function findWay(now) {
      for (var step = 0; step < endpoints.length; step += 1) {
        var index = (at + step) % endpoints.length;
        if (endpoints[index].openUntil <= now) {
          failures = index === at ? failures : 0;
          at = index;
          return true;
        }
      }
      return false;
    }

    function opensAt() {
      return Math.min.apply(null, endpoints.map(function (known) { return known.openUntil; }));
    }

    function noteFailure(now, channel) {
      var known = find(channel.url);
      if (known) {
        known.failures += 1;
        if (known.failures >= config.breakerFailures) {
          known.openUntil = now + config.breakerPause;
        }
      }
      if (channel.by === LONG_POLL) {
        nextBy = WEB_SOCKET;
      } else if (isUsedUp()) {
        rotate();
        nextBy = LONG_POLL;
      } else {
        var good = quality();
        failures += 1;
        if (failures >= (good > 0.8 ? 2 : good > 0.5 ? 4 : 8)) {
          usedUp += 1;
          rotate();
        }
        if (isUsedUp()) {
          nextBy = LONG_POLL;
        }
      }
    }

    function noteStanding() {
      var known = find(main.url);
      if (known) {
        reset(known);
      }
      failures = 0;
      nextBy = main.by;
      if (main.by === WEB_SOCKET) {
        usedUp = 0;
      }
    }

    function replaceEndpoints(urls, used) {
      var list = urls.indexOf(used) < 0 ? [used].concat(urls) : urls;
      if (endpoints[at].url !== used) {
        failures = 0;
      }
      endpoints = list.map(function (url) { return find(url) || endpoint(url); });
      at = list.indexOf(used);
    }

    // ---- the pulse and the quality

    function unit(value) {
      return Math.min(Math.max(value, 0), 1);
    }

    function quality() {
      var value = (1 - unit(((rtt || 0) - 100) / 1000)) * (1 - unit(loss / 0.2));
      return loss > 0.05 || falling >= 2 ? Math.min(value, 0.5) : value;
    }

    function stopPulse() {
      beatAt = healthAt = answerBy = probeBy = NEVER;
    }

    function heard(now, text) {
      windowLength += text.length;
      heardAt = now;
      missed = 0;
      answerBy = probeBy = NEVER;
      pinged = false;
    }

    function answered(now) {
      if (sentAt && beatAt < NEVER) {
        var after = Math.max(now - sentAt, 0);
        rtt = rtt === null ? after : rtt + (after - rtt) / 8;
        loss -= loss / 8;
        sentAt = 0;
      }
    }

    function pulseDeadline(now) {
      if (probeBy <= now) {
        return abandon(now);
      }
      if (answerBy <= now) {
        answerBy = NEVER;
        sentAt = 0;
        missed += 1;
        loss += (1 - loss) / 8;
        if (missed >= config.missedMax) {
          return abandon(now);
        }
        put('report', 'suspect');
      }
      if (beatAt <= now) {
        beatAt = now + interval;
        sentAt = now;
        answerBy = now + Math.min(config.heartbeatTimeout, interval);
        send('{"type":"heartbeat","timestamp":' + now + '}');
      }
      if (healthAt <= now) {
        healthAt = now + config.healthInterval;
        falling = windowLength < lastWindowLength ? falling + 1 : 0;
        lastWindowLength = windowLength;
        windowLength = 0;
        if (now - heardAt >= config.idleMax) {
          abandon(now);
        } else if (now - heardAt >= config.idlePing && !pinged) {
          pinged = true;
          ping();
        }
      }
    }

    // ---- the figures

    function endDowntime(now) {
      downtime += downSince === null ? 0 : now - downSince;
      downSince = null;
    }

    function noteDisconnected(now) {
      downSince = lastDisconnectedAt = now;
    }

    function noteFailedRetry() {
      failed += isRetry ? 1 : 0;
      isRetry = false;
    }

    // ---- attempts

    function clearAttempts() {
      welcomeBy = stableAt = retryAt = NEVER;
      slot = 0;
    }

    function attempt(now, again) {
      if (!findWay(now)) {
        retryAt = opensAt();
        return;
      }
      isRetry = again;
      total += again ? 1 : 0;
      retryAt = NEVER;
      welcomeBy = now + config.openTimeout;
      enter(CONNECTING);
      main = open(endpoints[at].url, nextBy);
    }

    function lost(now) {
      if (!main) {
        return;
      }
      var gone = main;
      var wasLive = isLive();
      main = null;
      if (wasLive) {
        noteDisconnected(now);
      }
      noteFailedRetry();
      if (!wasLive || stableAt < NEVER) {
        noteFailure(now, gone);
      }
      stopPulse();
      var advised = slot;
      clearAttempts();
      lostAt = now;
      var second = takeSpare();
      if (second && second.phase !== OPENING) {
        promote(now, second);
      } else {
        dropSpare(second);
        retry(now, advised);
      }
    }

    function retry(now, advised) {
      var bounds = delays();
      if (!bounds) {
        disconnect(now);
        put('report', 'gaveUp');
        return;
      }
      var delayed = now + between(bounds);
      isSlot = advised > now;
      retryAt = Math.max(isSlot ? Math.max(advised, now + config.delayMin) : delayed, opensAt());
      enter(RECONNECTING);
      put('report', 'retryIn', retryAt - now);
    }

    function promote(now, second) {
      main = second;
      isRetry = true;
      welcomeBy = now + config.openTimeout;
      enter(CONNECTING);
      if (second.phase === SILENT) {
        total += 1;
        greet(second);
      }
    }

    function abandon(now) {
      if (main) {
        put('close', main.id);
      }
      lost(now);
    }

    function disconnect(now) {
      if (main) {
        put('close', main.id);
        main = null;
      }
      dropSpare(takeSpare());
      noteFailedRetry();
      stopPulse();
      clearAttempts();
      if (isLive()) {
        noteDisconnected(now);
      }
      endDowntime(now);
      startedFor += startedAt === null ? 0 : now - startedAt;
      startedAt = null;
      enter(DISCONNECTED);
    }

    function closed(now, code) {
      if ([1000, 1002, 1003, 1007, 1008, 1009, 1010, 4000, 4001, 4004].indexOf(code) >= 0) {
        main = null;
        disconnect(now);
        put('report', 'refused', code);
        return;
      }
      // 4007: another client goes on with the session, unless it is our own second channel.
      if (code === 4007 && !(spare && spare.phase === GREETED)) {
        beginSession(null);
      }
      lost(now);
    }

    // ---- the second channel

    function takeSpare() {
      var taken = spare;
      spare = null;
      spareAt = spareBy = NEVER;
      return taken;
    }

    function dropSpare(channel) {
      if (channel) {
        failed += state === FALLBACK ? 1 : 0;
        put('close', channel.id);
      }
    }

    function openSpareLater(now) {
      spareAt = now + between(spareDelays());
    }

    function spareLost(now) {
      takeSpare();
      spareLostAt = now;
      failed += state === FALLBACK ? 1 : 0;
      openSpareLater(now);
    }

    function openSpare(now) {
      var isProbe = state === FALLBACK;
      var fit = isProbe ? [main] : endpoints.filter(function (known) {
        return known.url !== main.url && known.openUntil <= now;
      });
      if (!fit.length) {
        spareAt = now + config.probeDelayMax;
        return;
      }
      total += isProbe ? 1 : 0;
      spareAt = NEVER;
      spareBy = now + config.openTimeout;
      spare = open(fit[0].url, WEB_SOCKET);
    }

    // ---- the session

    function beginSession(id) {
      session = id;
      put('save', 'session', id);
      ops.forEach(function (op, index) {
        op[0] = index + 1;
        put('save', 'op', op[0], op[1]);
      });
      lastOp = ops.length;
    }

    function opsDone(through) {
      var done = 0;
      while (ops.length && ops[0][0] <= through) {
        done = ops.shift()[0];
      }
      if (!ops.length) {
        lastOp = Math.max(lastOp, through);
      }
      if (done) {
        put('save', 'opsDone', done);
        put('report', 'opsConfirmed', done);
      }
    }

    /** Notes an id; says whether it is new. */
    function noteSeen(id) {
      // The mark keeps the names of Object.prototype out.
      if (seen['.' + id]) {
        return false;
      }
      seen['.' + id] = true;
      seenOrder.push(id);
      if (seenOrder.length > config.seenMax) {
        delete seen['.' + seenOrder.shift()];
      }
      return true;
    }

    function welcomed(now, frame) {
      if (frame.resumed) {
        opsDone(frame.applied);
      } else {
        beginSession(frame.session);
      }
      main.phase = WELCOMED;
      clearAttempts();
      stableAt = now + config.stableAfter;
      successful += isRetry ? 1 : 0;
      isRetry = false;
      endDowntime(now);
      lastConnectedAt = now;
      if (main.by === LONG_POLL) {
        enter(FALLBACK);
        spareDelays(true);
        openSpareLater(now);
      } else {
        enter(CONNECTED);
        interval = Math.min(config.heartbeatInterval, Math.max(frame.heartbeat_ms, 1000));
        beatAt = now + interval;
        healthAt = now + config.healthInterval;
        heardAt = now;
        missed = sentAt = 0;
        pinged = false;
      }
      if (frame.endpoints && frame.endpoints.length) {
        replaceEndpoints(frame.endpoints, main.url);
      }
      put('report', 'welcomed', frame.resumed, frame.lost, frame.context);
      ops.forEach(sendOp);
    }

    function textReceived(now, text) {
      heard(now, text);
      var frame = parseFrame(text);
      var type = frame.type;
      var isWelcomed = main.phase === WELCOMED;
      if (type === 'welcome' && !isWelcomed) {
        welcomed(now, frame);
      } else if (type === 'retry') {
        slot = now + Math.min(frame.after_ms, config.slotMax);
      } else if (type === 'error') {
        put('report', 'gatewayError', frame.code, frame.reason);
        put('close', main.id);
        closed(now, frame.code);
      } else if (type === 'message' && isWelcomed) {
        if (noteSeen(frame.id)) {
          messages += 1;
          put('save', 'seen', frame.id);
          put('deliver', frame.id, frame.data, frame.tries);
        } else {
          duplicates += 1;
        }
        send('{"type":"ack","id":' + JSON.stringify(frame.id) + '}');
      } else if (type === 'heartbeat_ack') {
        answered(now);
      } else if (type === 'op_ack' && isWelcomed) {
        opsDone(frame.n);
      } else if (type !== 'pong') {
        abandon(now);
      }
    }

    // ---- what is told and due

    function hinted(now, hint) {
      if (hint === 'online') {
        endpoints.forEach(reset);
      }
      if (beatAt < NEVER) {
        if (probeBy === NEVER) {
          answerBy = NEVER;
          heardAt = now;
          probeBy = now + config.probeTimeout;
          ping();
        }
      } else if (hint !== 'offline') {
        if (retryAt < NEVER && !isSlot) {
          retryAt = Math.min(retryAt, Math.max(now, lostAt + config.delayMin));
        }
        if (spareAt < NEVER) {
          spareAt = Math.min(spareAt, Math.max(now, spareLostAt + config.delayMin));
        }
      }
    }

    /** When the event `deadline` is due; NEVER without one. */
    function nextDeadline() {
      return Math.min(welcomeBy, stableAt, retryAt, spareAt, spareBy, beatAt, answerBy, healthAt, probeBy);
    }

    function deadlineReached(now) {
      var due = nextDeadline();
      if (due > now) {
        return;
      }
      if (now - due >= config.wakeAfter) {
        hinted(now, 'woke');
      }
      pulseDeadline(now);
      if (stableAt <= now) {
        stableAt = NEVER;
        delays(true);
        noteStanding();
        if (state === CONNECTED && config.standby) {
          spareDelays(true);
          spareAt = now;
        }
      }
      if (welcomeBy <= now) {
        abandon(now);
      }
      if (retryAt <= now) {
        attempt(now, true);
      }
      if (spareBy <= now) {
        put('close', spare.id);
        spareLost(now);
      }
      if (spareAt <= now) {
        openSpare(now);
      }
    }

    function aboutMain(now, what, detail) {
      if (what === 'text') {
        textReceived(now, detail);
      } else if (what === 'closed') {
        closed(now, detail);
      } else if (what === 'failed') {
        lost(now);
      } else if (main.phase === OPENING) {
        greet(main);
      }
    }

    function aboutSpare(now, what, detail) {
      if (what === 'text') {
        if (spare.phase === GREETED && parseFrame(detail).type === 'welcome') {
          put('close', main.id);
          main = takeSpare();
          isRetry = true;
          textReceived(now, detail);
        }
      } else if (what !== 'opened') {
        spareLost(now);
      } else if (spare.phase === OPENING) {
        if (state === FALLBACK) {
          greet(spare);
        } else {
          spare.phase = SILENT;
          spareBy = NEVER;
          spareDelays(true);
        }
      }
    }

    function restore(saved) {
      session = saved.session;
      saved.seen.forEach(noteSeen);
      lastOp = saved.lastOp;
      ops = saved.ops.map(function (patch, index) {
        return [Math.max(lastOp + 1 - saved.ops.length, 0) + index, patch];
      });
    }

    function requestOp(patch) {
      if (ops.length >= config.opsMax) {
        put('report', 'opRefused');
        return;
      }
      lastOp += 1;
      var op = [lastOp, patch];
      ops.push(op);
      put('save', 'op', lastOp, patch);
      if (isLive()) {
        sendOp(op);
      }
    }

    return {
      /** Takes one event; gives the commands it causes. */
      handle: function (now, event) {
        var what = event[0];
        var detail = event[1];
        commands = [];
        if (what === 'deadline') {
          deadlineReached(now);
        } else if (what === 'hint') {
          hinted(now, detail);
        } else if (what === 'op') {
          requestOp(detail);
        } else if (what === 'restored' && state === DISCONNECTED) {
          restore(detail);
        } else if (what === 'started' && state === DISCONNECTED) {
          startedAt = downSince = now;
          delays(true);
          endpoints.forEach(reset);
          attempt(now, false);
        } else if (what === 'stopped' && state !== DISCONNECTED) {
          if (isLive()) {
            send('{"type":"bye"}');
          }
          disconnect(now);
        } else if (main && main.id === detail) {
          aboutMain(now, what, event[2]);
        } else if (spare && spare.id === detail) {
          aboutSpare(now, what, event[2]);
        }
        return commands;
      },
      nextDeadline: nextDeadline,
      state: function () {
        return state;
      },
      statistics: function (now) {
        var down = downtime + (downSince === null ? 0 : now - downSince);
        var started = startedFor + (startedAt === null ? 0 : now - startedAt);
        return {
          reconnectsTotal: total,
          reconnectsSuccessful: successful,
          reconnectsFailed: failed,
          lastConnectedAt: lastConnectedAt,
          lastDisconnectedAt: lastDisconnectedAt,
          downtimeMs: down,
          availabilityPercent: started && (started - down) / started * 100,
          messages: messages,
          duplicates: duplicates,
          rttMs: rtt,
          quality: quality()
        };
      }
    };
  }

  // ---------------------------------------------------------------- channels

  function problem(code, message) {
    return { code: code, message: message };
  }

  /** A WebSocket of the browser. */
  function browserSocket(url, protocol, on) {
    var socket = new root.WebSocket(url, protocol);
    socket.onopen = function () {
      on.open(socket.protocol);
    };
    socket.onmessage = function (event) {
      on.text(event.data);
    };
    socket.onclose = function (event) {
      on.close(event.code);
    };
    return socket;
  }

  /** A WebSocket of a WeChat mini-program, which does not tell the protocol that was agreed to. */
  function wxSocket(url, protocol, on) {
    var task = mini.connectSocket({ url: url, protocols: [protocol], fail: on.close });
    task.onOpen(function () {
      on.open(protocol);
    });
    task.onMessage(function (message) {
      on.text(message.data);
    });
    task.onClose(function (close) {
      on.close(close.code);
    });
    task.onError(on.close);
    return {
      send: function (text) {
        task.send({ data: text });
      },
      close: function () {
        task.close({ code: 1000 });
      }
    };
  }

  /** A request of the browser: `done` gets the status, 0 without an answer, and the body. */
  function browserRequest(request, done) {
    var xhr = new root.XMLHttpRequest();
    xhr.open(request.method, request.url);
    xhr.timeout = request.timeout;
    xhr.onloadend = function () {
      done(xhr.status, xhr.responseText);
    };
    // A text needs no question to the server beforehand.
    xhr.send(request.body);
    return xhr;
  }

  /** A request of a WeChat mini-program. */
  function wxRequest(request, done) {
    return mini.request({
      url: request.url,
      method: request.method,
      data: request.body,
      dataType: 'text',
      header: { 'content-type': 'text/plain' },
      timeout: request.timeout,
      success: function (answer) {
        done(answer.statusCode, answer.data);
      },
      fail: function () {
        done(0);
      }
    });
  }

  /** A WebSocket as a channel; `tell` takes events without the channel's name. */
  function socketChannel(env, url, tell) {
    var isOpen = false;
    var socket;
    function fail(code, text) {
      tell('failed', problem(code, url + text));
    }
    try {
      socket = env.socket(url, SUBPROTOCOL, {
        open: function (protocol) {
          isOpen = protocol === SUBPROTOCOL;
          if (isOpen) {
            tell('opened');
          } else {
            socket.close();
            fail('protocol', ' does not speak ' + SUBPROTOCOL);
          }
        },
        text: function (data) {
          // What is not text is no frame.
          tell('text', isText(data) ? data : '');
        },
        close: function (code) {
          if (isOpen) {
            // 1005 and 1006 stand for no code.
            tell('closed', code > 0 && code !== 1005 && code !== 1006 ? code : null);
          } else {
            fail('unreachable', ' is unreachable; check address and origins');
          }
        }
      });
    } catch (error) {
      // Browsers give a mere name for what a page loaded by https may not do.
      var isInsecure = error.name === 'SecurityError';
      fail(isInsecure ? 'insecure' : 'failed', isInsecure ? ' is forbidden on https pages; use wss://' : ': ' + error.message);
    }
    return {
      send: function (text) {
        try {
          socket.send(text);
        } catch (ignored) {
          // A socket that cannot send is closing, and its end is told.
        }
      },
      close: function () {
        if (socket) {
          socket.close();
        }
      }
    };
  }

  /**
   * Long-polls as a channel: `hello` is posted, then messages are asked for again and again. What the link
   * sends meanwhile is posted, one request at a time.
   */
  function pollChannel(env, url, tell) {
    var base = url.replace(/^ws(s?:\/\/[^\/?#]+).*/, 'http$1/poll');
    var requests = {};
    var outbox = [];
    var session = '';
    var after = '';
    function ask(method, query, body, done) {
      requests[method] = env.request({ method: method, url: base + query, body: body, timeout: 2 * POLL_WAIT }, function (status, text) {
        var answer = status === 200 && parse(text);
        delete requests[method];
        if (answer) {
          done(answer);
        } else {
          tell('failed', problem('unreachable', base + ': HTTP ' + status));
        }
      });
    }
    function poll() {
      ask('GET', session + '&after=' + encodeURIComponent(after) + '&wait=' + POLL_WAIT, undefined, take);
    }
    function take(answer) {
      after = answer.after;
      answer.frames.forEach(function (frame) {
        tell('text', JSON.stringify(frame));
      });
      poll();
    }
    function post() {
      if (session && outbox.length && !requests.POST) {
        ask('POST', session, '[' + outbox.splice(0) + ']', post);
      }
    }
    setTimeout(function () {
      tell('opened');
    }, 0);
    return {
      send: function (text) {
        if (session) {
          outbox.push(text);
          post();
        } else {
          ask('POST', '', text, function (answer) {
            session = '?session=' + answer.frames[0].session;
            take(answer);
            post();
          });
        }
      },
      close: function () {
        ask = function () {};
        Object.keys(requests).forEach(function (method) {
          requests[method].abort();
        });
      }
    };
  }

  // ---------------------------------------------------------------- storage

  var BLOCK = 64;

  /** What a machine asks to be saved, in a storage of texts: the session with its ops, and blocks of ids. */
  function memory(storage, name, seenMax) {
    var record = read('') || { session: null, lastOp: 0, ops: [], block: 0 };
    var blocks = Math.ceil(seenMax / BLOCK);
    var ids = [];
    var seen = [];
    function read(part) {
      return parse(storage.getItem(name + part));
    }
    function write(part, value) {
      try {
        storage.setItem(name + part, JSON.stringify(value));
      } catch (ignored) {
        // Without room the link works on, and forgets with the page.
      }
    }
    for (var at = Math.max(record.block - blocks, 0); at <= record.block; at += 1) {
      ids = read(':' + at) || [];
      seen = seen.concat(ids);
    }
    function patches() {
      return record.ops.map(function (op) { return op[1]; });
    }
    return {
      saved: { session: record.session, seen: seen, lastOp: record.lastOp, ops: patches() },
      /** The patches that wait. */
      patches: patches,
      save: function (what, first, second) {
        if (what === 'seen') {
          ids.push(first);
          write(':' + record.block, ids);
          if (ids.length < BLOCK) {
            return;
          }
          ids = [];
          record.block += 1;
          storage.removeItem(name + ':' + (record.block - blocks - 1));
        } else if (what === 'session') {
          record.session = first;
          record.lastOp = 0;
          record.ops = [];
        } else if (what === 'op') {
          record.ops.push([first, second]);
          record.lastOp = first;
        } else {
          record.ops = record.ops.filter(function (op) { return op[0] > first; });
        }
        write('', record);
      }
    };
  }

  /** A storage over functions; without them, one that forgets with the page. */
  function storageOver(get, set, remove) {
    var items = {};
    return {
      getItem: get || function (name) {
        return items[name];
      },
      setItem: set || function (name, value) {
        items[name] = value;
      },
      removeItem: remove || function (name) {
        delete items[name];
      }
    };
  }

  // ---------------------------------------------------------------- environment

  /** The WeChat mini-program that this is, if any. */
  var mini = typeof wx !== 'undefined' && !root.WebSocket && wx;
  var offset = 0;
  var lastNow = 0;

  /** A wall clock that never goes backward. */
  function wallClock() {
    var raw = Date.now();
    offset = Math.max(offset, lastNow - raw);
    lastNow = raw + offset;
    return lastNow;
  }

  function ownStorage() {
    try {
      // Reading the property throws where storage is forbidden.
      return mini ? storageOver(mini.getStorageSync, mini.setStorageSync, mini.removeStorageSync)
        : root.sessionStorage || storageOver();
    } catch (ignored) {
      return storageOver();
    }
  }

  function environment(options) {
    return {
      socket: options.socket || (mini ? wxSocket : browserSocket),
      request: options.request || (mini ? wxRequest : browserRequest),
      storage: options.storage || ownStorage(),
      clock: options.clock || { now: wallClock, setTimeout: later, clearTimeout: cancel },
      random: options.random || Math.random
    };
  }

  // Called on the global object, as browsers want it.
  function later(call, delay) {
    return setTimeout(call, delay);
  }

  function cancel(timer) {
    clearTimeout(timer);
  }

  // ---------------------------------------------------------------- hub

  /** All hubs of the page. */
  var hubs = [];

  /** Has something noticed told to all hubs. */
  function hint(what) {
    hubs.forEach(function (hub) {
      hub.tell('hint', what);
    });
  }

  /** Has the page's own events told to all hubs. */
  function listenForHints() {
    var document = root.document;
    if (mini) {
      mini.onNetworkStatusChange(function (network) {
        hint(network.isConnected ? 'online' : 'offline');
      });
      mini.onAppShow(function () {
        hint('visible');
      });
    } else if (document) {
      ['online', 'offline'].forEach(function (what) {
        root.addEventListener(what, function () {
          hint(what);
        });
      });
      document.addEventListener('visibilitychange', function () {
        if (!document.hidden) {
          hint('visible');
        }
      });
    }
  }

  /** Applies a JSON Merge Patch (RFC 7396); may change its target. */
  function merge(target, patch) {
    if (!isObject(patch)) {
      return patch;
    }
    var result = isObject(target) ? target : {};
    Object.keys(patch).forEach(function (name) {
      if (patch[name] === null) {
        delete result[name];
      } else {
        result[name] = merge(result.hasOwnProperty(name) ? result[name] : null, patch[name]);
      }
    });
    return result;
  }

  /** One machine and its channels, for all instances that asked for the same. */
  function newHub(name, config, env) {
    var instances = [];
    var kept = memory(env.storage, 'steadfast:' + name, config.seenMax);
    var link = machine(config, env.random);
    var channels = {};
    var queue = [];
    var isBusy = false;
    var lastComplaint = '';
    var context;
    var timer;

    function call(handler, args) {
      instances.slice().forEach(function (instance) {
        try {
          if (instance.options[handler]) {
            instance.options[handler].apply(instance, args);
          }
        } catch (error) {
          // The application's mistake is shown, and is no reason to stop.
          env.clock.setTimeout(function () { throw error; }, 0);
        }
      });
    }

    function complain(why) {
      // The same again and again would only hide what is new.
      if (why.message !== lastComplaint) {
        lastComplaint = why.message;
        call('onError', [why]);
      }
    }

    function report(what, first, second, third) {
      if (what === 'welcomed') {
        lastComplaint = '';
        context = kept.patches().map(parse).reduce(merge, third);
        call('onWelcomed', [{ resumed: first, lost: second, context: context }]);
      } else if (what === 'gatewayError') {
        complain(problem('gateway', second + ' (' + first + ')'));
      } else if (what === 'refused') {
        complain(problem(what, 'refused (' + first + ')'));
      } else if (what === 'opRefused') {
        complain(problem(what, 'too many updates'));
      } else {
        // onOpsConfirmed, onSuspect, onGaveUp, onRetryIn
        call('on' + what.charAt(0).toUpperCase() + what.slice(1), [first]);
      }
    }

    function openChannel(id, url, by) {
      // The name is known before the channel is: opening it may fail at once.
      channels[id] = true;
      var made = (by === WEB_SOCKET ? socketChannel : pollChannel)(env, url, function (what, detail) {
        if (channels[id]) {
          if (what === 'failed') {
            complain(detail);
          }
          if (what === 'failed' || what === 'closed') {
            delete channels[id];
          }
          tell(what, id, detail);
        }
      });
      if (channels[id]) {
        channels[id] = made;
      }
    }

    function carryOut(command) {
      var what = command[0];
      var first = command[1];
      if (what === 'deliver') {
        call('onMessage', [command[2], { id: first, tries: command[3] }]);
      } else if (what === 'save') {
        kept.save(first, command[2], command[3]);
      } else if (what === 'state') {
        call('onStateChange', [command[2], first]);
      } else if (what === 'report') {
        report(first, command[2], command[3], command[4]);
      } else if (what === 'open') {
        openChannel(first, command[2], command[3]);
      } else if (channels[first]) {
        channels[first][what](command[2]);
        if (what === 'close') {
          delete channels[first];
        }
      }
    }

    /** Events that come while one is being carried out wait for their turn. */
    function tell() {
      queue.push(arguments);
      if (isBusy) {
        return;
      }
      isBusy = true;
      try {
        while (queue.length) {
          link.handle(env.clock.now(), queue.shift()).forEach(carryOut);
        }
      } finally {
        isBusy = false;
      }
      env.clock.clearTimeout(timer);
      var due = link.nextDeadline();
      if (due < NEVER) {
        timer = env.clock.setTimeout(function () { tell('deadline'); }, Math.max(due - env.clock.now(), 0));
      }
    }

    tell('restored', kept.saved);
    return {
      name: name,
      env: env,
      link: link,
      tell: tell,
      join: function (instance) {
        if (instances.indexOf(instance) < 0) {
          instances.push(instance);
        }
        // One that has given up, or was refused, starts again; any other goes on.
        tell('started');
      },
      leave: function (instance) {
        if (instances.length === 1 && instances[0] === instance) {
          tell('stopped');
        }
        instances = instances.filter(function (other) { return other !== instance; });
      },
      context: function () {
        return context;
      },
      update: function (patch) {
        var text = JSON.stringify(patch);
        demand(text, 'no JSON');
        context = merge(context, parse(text));
        tell('op', text);
      }
    };
  }

  // ---------------------------------------------------------------- what applications use

  function demand(isRight, what) {
    if (!isRight) {
      throw new TypeError('Steadfast: ' + what);
    }
  }

  /** The settings of a machine from those of an application. */
  function settings(options) {
    var location = root.location || {};
    var own = location.host && location.protocol.replace('http', 'ws') + '//' + location.host + '/';
    var config = { key: options.key, token: options.token, urls: options.urls || [options.url || own] };
    demand(isText(config.key) && config.key.trim(), 'key is missing');
    demand(config.urls.length && config.urls.every(function (url) {
      return /^wss?:\/\/[^/]/.test(url);
    }), 'no wss:// URLs: ' + config.urls);
    Object.keys(DEFAULTS).forEach(function (name) {
      config[name] = options[name] === undefined ? DEFAULTS[name] : options[name];
    });
    return config;
  }

  /** A client for one key. Instances for the same key and gateways share one connection. */
  function Steadfast(options) {
    var config = settings(options);
    var env = environment(options);
    var name = config.key + '@' + config.urls;
    var hub = hubs.filter(function (known) {
      return known.name === name && known.env.storage === env.storage;
    })[0];
    if (!hub) {
      if (!hubs.length) {
        listenForHints();
      }
      hub = newHub(name, config, env);
      hubs.push(hub);
    }
    this.options = options;
    this.connect = function () {
      hub.join(this);
      return this;
    };
    this.close = function () {
      hub.leave(this);
    };
    this.update = hub.update;
    this.getContext = hub.context;
    this.getState = hub.link.state;
    this.getStatistics = function () {
      return hub.link.statistics(env.clock.now());
    };
  }

  /** For tests: the machine alone. */
  Steadfast.machine = machine;

  return Steadfast;
});
