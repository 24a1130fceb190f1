// The contract, as QuickJS sees it: whole numbers are numbers, what is not there is null. A function that says no throws its reason.

declare module 'flowgate:plugin/connect-filter@0.1.0' {
  export function onConnect(client: ClientInfo, host: string, port: number): ConnectAction;
  export type ClientInfo = import('flowgate:plugin/types@0.1.0').ClientInfo;
  export type LocalResponse = import('flowgate:plugin/types@0.1.0').LocalResponse;
  export type ConnectAction = ConnectActionProceed | ConnectActionSplice | ConnectActionReject;
  /**
   * As the host is configured (normally: intercept).
   */
  export interface ConnectActionProceed {
    tag: 'proceed',
  }
  /**
   * Pass the bytes through unseen. No further hooks for this connection.
   */
  export interface ConnectActionSplice {
    tag: 'splice',
  }
  export interface ConnectActionReject {
    tag: 'reject',
    val: LocalResponse,
  }
}

declare module 'flowgate:plugin/context@0.1.0' {
  export type ClientInfo = import('flowgate:plugin/types@0.1.0').ClientInfo;
  export type RequestHead = import('flowgate:plugin/types@0.1.0').RequestHead;
  export type ResponseHead = import('flowgate:plugin/types@0.1.0').ResponseHead;
  export type Headers = import('flowgate:plugin/types@0.1.0').Headers;
  export type Timings = import('flowgate:plugin/types@0.1.0').Timings;
  export type BodyInfo = import('flowgate:plugin/types@0.1.0').BodyInfo;
  export type Outcome = import('flowgate:plugin/types@0.1.0').Outcome;
  export type Direction = import('flowgate:plugin/types@0.1.0').Direction;
  export type Origin = import('flowgate:plugin/types@0.1.0').Origin;
  export type MessageRecord = import('flowgate:plugin/types@0.1.0').MessageRecord;

  export class Flow implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * Unique within one run of the proxy.
    */
    id(): number;
    client(): ClientInfo;
    /**
    * Absolute URL as the client asked for it, default port left out.
    */
    url(): string;
    /**
    * The heads as they stand: with the changes of plugins that ran before. In `observer`:
    * as sent to the origin, and as sent to the client.
    */
    request(): RequestHead;
    response(): ResponseHead | null;
    /**
    * The same as octets, as HTTP/1 writes a head (RFC 9112 §2.1): `POST /x HTTP/1.1` or `HTTP/1.1 200 `
    * (no reason; of HTTP/2, `HTTP/2`), then a line `name: value` for each field, each line with CR
    * LF at its end. Empty if there is no such head. A list of headers is a string and a list for each;
    * this costs a third of it.
    */
    head(of: Direction): Uint8Array;
    /**
    * First field of that name, in any case of letters.
    */
    header(of: Direction, name: string): Uint8Array | null;
    /**
    * The same as text; bytes that are not UTF-8 are read as Latin-1.
    */
    headerText(of: Direction, name: string): string | null;
    trailers(of: Direction): Headers;
    /**
    * What is held of a body now; all zero if the rule's mode keeps nothing.
    */
    bodyInfo(of: Direction): BodyInfo;
    /**
    * The whole body as far as it is held, content coding undone.
    */
    body(of: Direction): Uint8Array;
    /**
    * The same as text; what is not UTF-8 is replaced.
    */
    bodyText(of: Direction): string;
    /**
    * At most `max` bytes from `offset`; empty at the end. For bodies larger than memory.
    */
    readBody(of: Direction, offset: number, max: number): Uint8Array;
    /**
    * In `message-observer`, and in `observer` after it: the messages this plugin was told of from
    * `sequence = first` on, the one in question included, in order; as many as have `max` octets of
    * content together, and at least one if there is one. The host holds them for plugins that
    * import this function, up to the `limit` of the rule, so that no instance needs to remember
    * anything: what exceeds it is there without content, and beyond 65,536 messages not at all.
    */
    heldMessages(first: number, max: number): Array<MessageRecord>;
    /**
    * Lets those with a lower sequence go, to make room.
    */
    releaseMessages(before: number): void;
    timings(): Timings;
    outcome(): Outcome;
    /**
    * Changes. Each says no where it cannot apply: in an observer, on a message that has
    * been sent, on a field that is the host's (framing, hop-by-hop), with bytes that no
    * field may hold, beyond 512 lines or 128 KiB in one head, or where the message would end
    * elsewhere for the client: HEAD and other methods, 204 and 304 and other statuses do not
    * become each other.
    */
    setHeader(of: Direction, name: string, value: Uint8Array): void;
    addHeader(of: Direction, name: string, value: Uint8Array): void;
    removeHeader(of: Direction, name: string): void;
    setMethod(method: string): void;
    setPath(path: string): void;
    setStatus(status: number): void;
    /**
    * Where to connect instead of the place the request names.
    */
    sendTo(origin: Origin): void;
    /**
    * Only while the body is held. The host repairs content-length and content-encoding.
    */
    setBody(of: Direction, body: Uint8Array): void;
    /**
    * Short notes attached to the flow, seen by later hooks, by other plugins and in the
    * host's diagnostics. Keys are written `plugin.key`.
    */
    tag(key: string): string | null;
    setTag(key: string, value: string): void;
    [Symbol.dispose](): void;
  }
}

declare module 'flowgate:plugin/key-value@0.1.0' {
  export function get(key: string): Uint8Array | null;
  /**
   * `ttl-s = none` keeps the entry until it is removed. What has expired is gone at once.
   */
  export function set(key: string, value: Uint8Array, ttlS: number | null): void;
  export function remove(key: string): void;
  /**
   * Stores `value` only if the present value equals `expected`; says whether it did. An entry
   * that is there keeps its time to live.
   */
  export function compareAndSet(key: string, expected: Uint8Array | null, value: Uint8Array): boolean;
  /**
   * Adds to a counter that starts at 0; returns the new value. `get` has it as a decimal number
   * in text. A time to live stays as it is.
   */
  export function increment(key: string, by: number): number;
  /**
   * Keys with this prefix, sorted, at most `limit`.
   */
  export function keys(prefix: string, limit: number): Array<string>;
  export type Error = ErrorQuota | ErrorOther;
  /**
   * Key or value too long, or the plugin's quota is used up.
   */
  export interface ErrorQuota {
    tag: 'quota',
  }
  export interface ErrorOther {
    tag: 'other',
    val: string,
  }
}

declare module 'flowgate:plugin/lifecycle@0.1.0' {
  /**
   * Called once in every fresh instance, before any hook. `config` is this plugin's
   * configuration as JSON text, `{}` if there is none. An error, a trap or a time-out
   * refuses the load; at a hot swap the old version then stays in service. The error is shown
   * to the operator: name the key that is wrong. The result must depend on `config` alone: the
   * host asks two instances and refuses a plugin whose answers differ. Host functions
   * work in here, but no flow exists yet.
   */
  export function configure(config: string): Registration;
  /**
   * How a rule meets a body.
   * # Variants
   *
   * ## `"skip"`
   *
   * Not at all. The host forwards frames untouched.
   * ## `"capture"`
   *
   * The host forwards every frame at once and keeps a copy, up to `limit`, for
   * `observer`. Adds no latency.
   * ## `"chunks"`
   *
   * Every chunk passes through `stream-filter` before it is forwarded.
   * ## `"whole"`
   *
   * The host holds the message back until its body is complete, then calls
   * `request-filter` / `response-filter`. Unfit for event streams.
   */
  export type BodyMode = 'skip' | 'capture' | 'chunks' | 'whole';
  /**
   * How `chunks` bodies are cut into chunks.
   * # Variants
   *
   * ## `"as-received"`
   *
   * As they arrive.
   * ## `"sse-events"`
   *
   * One whole server-sent event, blank line included, per chunk, if the body is
   * `text/event-stream`; else as received.
   */
  export type Framing = 'as-received' | 'sse-events';
  /**
   * All conditions given must hold; of one list any pattern will do, an empty list always
   * does. Patterns are globs over the entire string, `*` standing for any run of characters,
   * all else for itself; letter case matters only in `methods` and `paths`.
   */
  export interface Rule {
    /**
     * Against the host of the URL: no port, no brackets.
     */
    hosts: Array<string>,
    methods: Array<string>,
    /**
     * Against path with query, as on the wire.
     */
    paths: Array<string>,
    /**
     * Against the response's media type without parameters; decides about response hooks,
     * response capture and `observer`. Request hooks run before it is known.
     */
    contentTypes: Array<string>,
    requestBody: BodyMode,
    responseBody: BodyMode,
    framing: Framing,
    /**
     * Most bytes to keep or hold per body; 0 takes the host's default. A longer `whole`
     * body passes unfiltered, or is refused with 413 / 502 if the plugin fails closed.
     */
    limit: number,
  }
  /**
   * # Variants
   *
   * ## `"pooled"`
   *
   * Any number of interchangeable instances. Prefer this.
   * ## `"singleton"`
   *
   * Exactly one instance; calls queue for it.
   */
  export type InstanceMode = 'pooled' | 'singleton';
  export interface Registration {
    /**
     * Stable id such as `logger`: lower-case letters, digits and `-`. It must equal the file's
     * stem (`logger.wasm`), else the load is refused. Names the key-value namespace, the
     * folder of the records and the metrics label.
     */
    name: string,
    /**
     * Version of the plugin itself.
     */
    version: string,
    /**
     * One sentence for people.
     */
    description: string,
    /**
     * The first rule that matches a flow counts. No match: the flow is skipped.
     */
    rules: Array<Rule>,
    instances: InstanceMode,
  }
}

declare module 'flowgate:plugin/log@0.1.0' {
  /**
   * Saves formatting lines that nobody will see.
   */
  export function enabled(level: Level): boolean;
  export function write(level: Level, message: string): void;
  /**
   * # Variants
   *
   * ## `"trace"`
   *
   * ## `"debug"`
   *
   * ## `"info"`
   *
   * ## `"warn"`
   *
   * ## `"error"`
   */
  export type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error';
}

declare module 'flowgate:plugin/message-filter@0.1.0' {
  export function onMessage(flow: Flow, of: Direction, message: Message): MessageAction;
  export type Direction = import('flowgate:plugin/types@0.1.0').Direction;
  export type Flow = import('flowgate:plugin/context@0.1.0').Flow;
  export type Message = MessageText | MessageBinary;
  export interface MessageText {
    tag: 'text',
    val: string,
  }
  export interface MessageBinary {
    tag: 'binary',
    val: Uint8Array,
  }
  export type MessageAction = MessageActionPass | MessageActionReplace | MessageActionDiscard | MessageActionClose;
  export interface MessageActionPass {
    tag: 'pass',
  }
  /**
   * Send this instead. Filters behind this one are asked about it.
   */
  export interface MessageActionReplace {
    tag: 'replace',
    val: Message,
  }
  /**
   * Send nothing.
   */
  export interface MessageActionDiscard {
    tag: 'discard',
  }
  /**
   * Close the connection both ways with this status code: 1000 to 1003, 1007 to 1014, or 3000 to
   * 4999. The message is not sent.
   */
  export interface MessageActionClose {
    tag: 'close',
    val: number,
  }
}

declare module 'flowgate:plugin/message-observer@0.1.0' {
  /**
   * All of one flow's messages in order, one call at a time, in any instances (of a `singleton`,
   * in its only one); those of other flows meanwhile. A plugin that does not keep up misses
   * messages, which the operator is told; a call that fails is not repeated.
   */
  export function onMessagePassed(flow: Flow, message: MessageRecord): void;
  export type MessageKind = import('flowgate:plugin/types@0.1.0').MessageKind;
  export type MessageRecord = import('flowgate:plugin/types@0.1.0').MessageRecord;
  export type Flow = import('flowgate:plugin/context@0.1.0').Flow;
}

declare module 'flowgate:plugin/metrics@0.1.0' {
  export function count(counter: string, labels: Labels, by: number): void;
  export function gauge(name: string, labels: Labels, value: number): void;
  export function measure(histogram: string, labels: Labels, value: number): void;
  export type Labels = Array<[string, string]>;
}

declare module 'flowgate:plugin/observer@0.1.0' {
  /**
   * Once per matched flow, after its last byte, its abort or its refusal; see `outcome` and
   * `timings` for what an early end leaves. Nothing about the flow changes any more. A flow that
   * became a WebSocket ends with its handshake for a plugin that has neither message hook; for one
   * that has, when the connection has gone and all its messages have been told. Outcome and timings
   * speak of the handshake in either case.
   */
  export function onFlowEnd(flow: Flow): void;
  export type Flow = import('flowgate:plugin/context@0.1.0').Flow;
}

declare module 'flowgate:plugin/outbound@0.1.0' {
  export function fetch(head: RequestHead, body: Uint8Array, timeoutMs: number): LocalResponse;
  export type RequestHead = import('flowgate:plugin/types@0.1.0').RequestHead;
  export type LocalResponse = import('flowgate:plugin/types@0.1.0').LocalResponse;
  export type Error = ErrorDenied | ErrorTimeout | ErrorTooLarge | ErrorFailed;
  export interface ErrorDenied {
    tag: 'denied',
  }
  export interface ErrorTimeout {
    tag: 'timeout',
  }
  export interface ErrorTooLarge {
    tag: 'too-large',
  }
  export interface ErrorFailed {
    tag: 'failed',
    val: string,
  }
}

declare module 'flowgate:plugin/records@0.1.0' {
  /**
   * `path` is relative: at most 16 parts separated by `/`, each at most 255 bytes, none empty
   * or beginning with a dot, none with a control character or a backslash.
   */
  export function keep(path: string, data: Uint8Array, mode: WriteMode): void;
  /**
   * # Variants
   *
   * ## `"create-new"`
   *
   * If the path is taken, a counter before the extension makes it free.
   * ## `"replace"`
   *
   * ## `"append"`
   */
  export type WriteMode = 'create-new' | 'replace' | 'append';
  export type Error = ErrorDenied | ErrorOverloaded | ErrorOther;
  /**
   * Nothing granted, or the path is absolute, leaves the folder, or has a part that no
   * file system takes.
   */
  export interface ErrorDenied {
    tag: 'denied',
    val: string,
  }
  /**
   * The queue stayed full for longer than the host lets a guest wait. Nothing was kept; the
   * guest may call again.
   */
  export interface ErrorOverloaded {
    tag: 'overloaded',
  }
  export interface ErrorOther {
    tag: 'other',
    val: string,
  }
}

declare module 'flowgate:plugin/request-filter@0.1.0' {
  /**
   * `body-held`: the whole body is there (mode `whole`, or after `need-body`).
   */
  export function onRequest(flow: Flow, bodyHeld: boolean): RequestAction;
  export type LocalResponse = import('flowgate:plugin/types@0.1.0').LocalResponse;
  export type Flow = import('flowgate:plugin/context@0.1.0').Flow;
  export type RequestAction = RequestActionProceed | RequestActionAnswer | RequestActionNeedBody | RequestActionDisconnect;
  /**
   * Forward the request as it now stands.
   */
  export interface RequestActionProceed {
    tag: 'proceed',
  }
  /**
   * Answer the client; do not contact the origin.
   */
  export interface RequestActionAnswer {
    tag: 'answer',
    val: LocalResponse,
  }
  /**
   * Hold the message and call again once the body is complete.
   */
  export interface RequestActionNeedBody {
    tag: 'need-body',
  }
  /**
   * Close the client's stream without an answer.
   */
  export interface RequestActionDisconnect {
    tag: 'disconnect',
  }
}

declare module 'flowgate:plugin/response-filter@0.1.0' {
  export function onResponse(flow: Flow, bodyHeld: boolean): ResponseAction;
  export type LocalResponse = import('flowgate:plugin/types@0.1.0').LocalResponse;
  export type Flow = import('flowgate:plugin/context@0.1.0').Flow;
  export type ResponseAction = ResponseActionProceed | ResponseActionAnswer | ResponseActionNeedBody | ResponseActionDisconnect;
  export interface ResponseActionProceed {
    tag: 'proceed',
  }
  /**
   * Send this instead of what the origin said.
   */
  export interface ResponseActionAnswer {
    tag: 'answer',
    val: LocalResponse,
  }
  export interface ResponseActionNeedBody {
    tag: 'need-body',
  }
  export interface ResponseActionDisconnect {
    tag: 'disconnect',
  }
}

declare module 'flowgate:plugin/stream-filter@0.1.0' {
  /**
   * False: not interested in this body after all; it is forwarded untouched.
   */
  export function onBodyStart(bodyId: number, flow: Flow, of: Direction): boolean;
  /**
   * Content coding undone, never empty.
   */
  export function onChunk(bodyId: number, chunk: Uint8Array): ChunkAction;
  /**
   * Once, after the last chunk; the bytes are appended. `broken`: the flow ended early, the
   * answer is ignored and state for this id should be dropped.
   */
  export function onBodyEnd(bodyId: number, broken: boolean): Uint8Array;
  export type Direction = import('flowgate:plugin/types@0.1.0').Direction;
  export type Flow = import('flowgate:plugin/context@0.1.0').Flow;
  export type ChunkAction = ChunkActionPass | ChunkActionReplace | ChunkActionFinish;
  export interface ChunkActionPass {
    tag: 'pass',
  }
  /**
   * Forward these bytes instead; empty drops the chunk.
   */
  export interface ChunkActionReplace {
    tag: 'replace',
    val: Uint8Array,
  }
  /**
   * Forward these bytes, then end the message.
   */
  export interface ChunkActionFinish {
    tag: 'finish',
    val: Uint8Array,
  }
}

declare module 'flowgate:plugin/text@0.1.0' {
  /**
   * What is not UTF-8 is replaced.
   */
  export function decodeUtf8(data: Uint8Array): string;
}

declare module 'flowgate:plugin/types@0.1.0' {
  /**
   * One header field, in wire order, repeats kept. `name` is lower case for HTTP/2 and as
   * received for HTTP/1. `value` is bytes: HTTP does not promise UTF-8.
   */
  export interface Header {
    name: string,
    value: Uint8Array,
  }
  export type Headers = Array<Header>;
  /**
   * # Variants
   *
   * ## `"http10"`
   *
   * ## `"http11"`
   *
   * ## `"h2"`
   *
   * ## `"h3"`
   */
  export type HttpVersion = 'http10' | 'http11' | 'h2' | 'h3';
  /**
   * Microseconds since the Unix epoch (below 2^53, as every u64 here: JavaScript guests
   * hold it in a number; what guests pass to the host is u32 for the same reason).
   */
  export type Timestamp = number;
  /**
   * # Variants
   *
   * ## `"request"`
   *
   * ## `"response"`
   */
  export type Direction = 'request' | 'response';
  export interface ClientInfo {
    /**
     * Peer address without port and brackets, such as `10.0.0.7` or `2001:db8::7`.
     */
    address: string,
    port: number,
    /**
     * Who was admitted by proxy authentication; `none` if nobody said. Never a password.
     */
    user: string | null,
  }
  export interface RequestHead {
    method: string,
    /**
     * `https` or `http`.
     */
    scheme: string,
    /**
     * `host` or `host:port`, from the Host header or `:authority`.
     */
    authority: string,
    /**
     * Path with query, exactly as on the wire.
     */
    path: string,
    version: HttpVersion,
    headers: Headers,
  }
  export interface ResponseHead {
    status: number,
    version: HttpVersion,
    headers: Headers,
  }
  /**
   * # Variants
   *
   * ## `"text"`
   *
   * ## `"binary"`
   *
   * ## `"closed"`
   *
   * A close frame; the content is its status code, two octets, and reason, or nothing.
   */
  export type MessageKind = 'text' | 'binary' | 'closed';
  /**
   * A WebSocket message that was sent on, compression undone.
   */
  export interface MessageRecord {
    /**
     * `request` is from the client, `response` from the origin.
     */
    sent: Direction,
    kind: MessageKind,
    /**
     * When its last octet had been sent on.
     */
    at: Timestamp,
    /**
     * Counts both directions of one flow from 0, messages nobody was told of included.
     */
    sequence: number,
    /**
     * Octets of the message; `content` may hold fewer, see `limit` in the rule.
     */
    length: number,
    content: Uint8Array,
  }
  /**
   * A complete response made by a plugin. The host adds `content-length`.
   */
  export interface LocalResponse {
    status: number,
    headers: Headers,
    body: Uint8Array,
  }
  /**
   * Where to connect instead of the place `authority` names.
   */
  export interface Origin {
    scheme: string,
    host: string,
    port: number,
  }
  /**
   * When things happened; `none` for what has not happened, and in an ended flow for what
   * never did. A flow whose client left during the response has `response-start` and no
   * `response-end`; one whose origin failed before it answered has neither. Differences are
   * exact: a wall clock that jumps meanwhile bends none of them.
   */
  export interface Timings {
    /**
     * Request head read.
     */
    requestStart: Timestamp,
    /**
     * Last request byte read.
     */
    requestEnd: Timestamp | null,
    /**
     * Response head read.
     */
    responseStart: Timestamp | null,
    /**
     * Last response byte read.
     */
    responseEnd: Timestamp | null,
  }
  /**
   * What the host holds of one body.
   */
  export interface BodyInfo {
    /**
     * Bytes held, content coding undone.
     */
    length: number,
    /**
     * Bytes that passed on the wire.
     */
    wireLength: number,
    /**
     * Bytes are missing: the limit cut it short, or a content coding breaks off early. (That a
     * flow ended early is in its `outcome`, not here.)
     */
    truncated: boolean,
    /**
     * False: a content coding could not be undone, the bytes are as on the wire.
     */
    decoded: boolean,
  }
  /**
   * How a flow ended. `observer` is told of every one of these but `in-progress`.
   */
  export type Outcome = OutcomeInProgress | OutcomeCompleted | OutcomeClientAborted | OutcomeOriginFailed | OutcomeAnsweredBy;
  /**
   * Not ended yet; what filters see.
   */
  export interface OutcomeInProgress {
    tag: 'in-progress',
  }
  /**
   * The response passed whole.
   */
  export interface OutcomeCompleted {
    tag: 'completed',
  }
  /**
   * The client went away first, or the rest of its content did not come, or was none, once
   * the request had begun to go out. The bodies hold what had passed; there is a response
   * only if its head had come.
   */
  export interface OutcomeClientAborted {
    tag: 'client-aborted',
  }
  /**
   * The origin broke off, or could not be used once the request had begun to go out, or a
   * plugin failed, or closed the client's stream, after that; says why in one sentence for
   * people. The bodies hold what had passed. If no response head came, `response` is
   * `none`, whatever the client was told.
   */
  export interface OutcomeOriginFailed {
    tag: 'origin-failed',
    val: string,
  }
  /**
   * Answered by the named plugin. `host`: the proxy answered itself before any origin saw
   * the request, because the origin was not to be reached or trusted, or a plugin
   * failed whose failure refuses the flow.
   */
  export interface OutcomeAnsweredBy {
    tag: 'answered-by',
    val: string,
  }
}
