/** The client of the Steadfast push gateway's link protocol, `steadfast.v1`. */

export as namespace Steadfast;
export = Steadfast;

declare class Steadfast {
  /** Throws a TypeError when the options make no sense. Instances for the same key and gateways share one link. */
  constructor(options: Steadfast.Options);
  /** The options given; handlers may be exchanged at any time. */
  options: Steadfast.Options;
  /** Connects, and stays connected until `close`. */
  connect(): this;
  /** Disconnects, once the last instance that shares the link has closed. */
  close(): void;
  /** Changes the session's context by a JSON Merge Patch: now, or when the gateway can be reached again. */
  update(patch: Steadfast.Json): void;
  getState(): Steadfast.State;
  /** The session's context, with the changes that the gateway has not confirmed; undefined before the first welcome. */
  getContext(): Steadfast.Json | undefined;
  getStatistics(): Steadfast.Statistics;
}

declare namespace Steadfast {
  type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

  type State = 'disconnected' | 'connecting' | 'connected' | 'reconnecting' | 'fallback';

  /** What went wrong, in words. */
  interface Problem {
    code: 'insecure' | 'failed' | 'unreachable' | 'protocol' | 'gateway' | 'refused' | 'opRefused';
    message: string;
  }

  interface Statistics {
    reconnectsTotal: number;
    reconnectsSuccessful: number;
    reconnectsFailed: number;
    /** Milliseconds since the Unix epoch. */
    lastConnectedAt: number | null;
    lastDisconnectedAt: number | null;
    downtimeMs: number;
    availabilityPercent: number;
    messages: number;
    /** Messages that came again and were dropped. */
    duplicates: number;
    /** The smoothed round trip of heartbeats. */
    rttMs: number | null;
    /** 0 to 1. */
    quality: number;
  }

  interface Handlers {
    /** Each message once. It is acknowledged when this returns. */
    onMessage?(data: string, meta: { id: string; tries: number }): void;
    onStateChange?(state: State, old: State): void;
    /** Welcomed: whether the session goes on, and whether messages were set aside while it was away. */
    onWelcomed?(welcome: { resumed: boolean; lost: boolean; context: Json }): void;
    /** The updates up to this number of the session are stored. */
    onOpsConfirmed?(through: number): void;
    /** A heartbeat was missed. */
    onSuspect?(): void;
    /** The next attempt follows after so many milliseconds. */
    onRetryIn?(ms: number): void;
    /** `maxAttempts` in a row have failed; `connect` starts again. */
    onGaveUp?(): void;
    onError?(problem: Problem): void;
  }

  /** Times in milliseconds. */
  interface Settings {
    /** Whether long-poll is an option. Default true. */
    fallback?: boolean;
    /** Whether a second endpoint is kept open. Default false. */
    standby?: boolean;
    delayMin?: number;
    delayMax?: number;
    probeDelayMax?: number;
    delayFactor?: number;
    jitterPercent?: number;
    /** Default null: any number. */
    maxAttempts?: number | null;
    openTimeout?: number;
    stableAfter?: number;
    slotMax?: number;
    heartbeatInterval?: number;
    heartbeatTimeout?: number;
    missedMax?: number;
    healthInterval?: number;
    idlePing?: number;
    idleMax?: number;
    probeTimeout?: number;
    wakeAfter?: number;
    breakerFailures?: number;
    breakerPause?: number;
    seenMax?: number;
    opsMax?: number;
  }

  /** What a socket factory tells. */
  interface SocketEvents {
    open(protocol: string): void;
    text(data: string): void;
    close(code?: number): void;
  }

  interface SocketLike {
    send(text: string): void;
    close(): void;
  }

  interface PollRequest {
    method: 'GET' | 'POST';
    url: string;
    body: string | undefined;
    timeout: number;
  }

  interface StorageLike {
    getItem(name: string): string | null | undefined;
    setItem(name: string, value: string): void;
    removeItem(name: string): void;
  }

  interface ClockLike {
    /** Milliseconds since the Unix epoch; never goes backward. */
    now(): number;
    setTimeout(call: () => void, delay: number): unknown;
    clearTimeout(timer: unknown): void;
  }

  interface Options extends Handlers, Settings {
    key: string;
    /** What proves that the client may have the key; a function is asked for each connection. */
    token?: string | (() => string | undefined);
    /** The gateway, as in wss://example.org/. Default: where the page came from. */
    url?: string;
    /** Several gateways. */
    urls?: string[];
    /** Stand-ins for what the surroundings have. */
    socket?(url: string, protocol: string, events: SocketEvents): SocketLike;
    request?(request: PollRequest, done: (status: number, text?: string) => void): { abort(): void };
    storage?: StorageLike;
    clock?: ClockLike;
    random?(): number;
  }
}
