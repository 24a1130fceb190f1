//! Every bound: its unit, default and reason.
//!
//! Place: handed by `app` to the parts that keep to them, in their own settings. Those that an administrator may want to change are also keys
//! of the configuration; what stands here is their default.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Client connections at once, over all listeners; key `connections`. More wait in the system's queue. A connection takes two descriptors at
/// most times, and administrators raise `nofile` to 65,536 for such services.
pub const CONNECTIONS: usize = 10_000;
/// Those of one client address (of IPv6: of one /64); key `connections-per-client`. Behind one address may be a whole company, so this only
/// leaves a quarter to all others. Over it: 503, and closed.
pub const CLIENT_CONNECTIONS: usize = 7500;
/// Tunnels of one user at once; key `tunnels-per-user`. Machines that build share one name; where names are people, some hundred will do.
/// Over it: 503.
pub const USER_TUNNELS: usize = 6000;
/// Octets of a PROXY header, with which connections of load balancers begin: a few hundred with all that clouds add. Over it: closed.
pub const PROXY_HEADER_BYTES: usize = 4 * KIB;
/// For all of it. It comes with the connection; the protocol wants three seconds at least, for a segment that is lost.
pub const PROXY_HEADER_DEADLINE: Duration = Duration::from_secs(5);
/// Octets of one request or response head. Sixteen times what browsers send; Azure and GitHub tokens with cookies reach 20 KiB.
pub const HEAD_BYTES: usize = 64 * KIB;
/// Field lines of one head. Real ones stay below 60.
pub const HEAD_FIELDS: usize = 256;
/// For a whole request head, from its first octet; key `head-deadline`: what keeps connections open by dripping is cut within this.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(20);
/// Within which the other end of a TCP connection that is silent has to answer when it is asked for a sign of life, three times, as browsers ask;
/// key `keepalive`. Routers forget silent connections after minutes, and machines fall asleep: nobody would be told.
pub const KEEPALIVE: Duration = Duration::from_secs(75);
/// Silence between two requests on a client's connection, and on one of HTTP/2 without streams; key `client-idle`. Editors keep connections for minutes.
pub const CLIENT_IDLE: Duration = Duration::from_secs(300);
/// Silence in the middle of content, in either direction; key `content-idle`. Models think for minutes before the next token; there is no limit on the whole.
pub const CONTENT_IDLE: Duration = Duration::from_secs(300);
/// From a request that has gone out whole, or an interim response, to the response's head; key `response-deadline`. Models that think without
/// saying so take minutes, and long polls are held for up to ten; who waits longer than that has most often been forgotten. Then 504.
pub const RESPONSE_DEADLINE: Duration = Duration::from_secs(900);
/// Interim responses (1xx) to one request: one or two are usual, an endless row is an attack.
pub const INTERIM_RESPONSES: usize = 16;
/// HTTP/2 streams of one client connection at once: what browsers and servers settle on. Over it: the stream is refused.
pub const STREAMS: u32 = 128;
/// HTTP/2 streams of all clients at once; key `streams`. One that stands still holds 640 KiB at most: a window and what waits to be sent at
/// either end. As many as there may be connections to origins, which are 10 GiB if every one of them is made to do harm. Over it: refused.
pub const STREAMS_IN_ALL: usize = 16_384;
/// Those of one client address; key `streams-per-client`: a quarter is left to all others. Over it: refused.
pub const CLIENT_STREAMS: usize = 12_288;
/// Octets of one stream that may wait to be sent, at either end. Four frames of the usual size, and less than its window.
pub const STREAM_BUFFER: usize = 64 * KIB;
/// Of the streams of one connection, those that the client has reset before they were looked at: they take memory and count no more. Over it: closed.
pub const RESETS_UNSEEN: usize = 20;
/// Streams of one client connection that are reset here because something is wrong with them, which a client may provoke. Over it: closed.
pub const STREAM_ERRORS: usize = 256;
/// Streams a second that one client connection may reset: an editor cancels a completion at each key. Each may have reached an origin.
/// Over it: closed, as for all floods.
pub const RESETS: u32 = 100;
/// That may come at once.
pub const RESETS_AT_ONCE: u32 = 1000;
/// Frames a second on one client connection that carry nothing: PING, SETTINGS, PRIORITY, CONTINUATION, empty DATA, windows opened by a few
/// octets. Some clients measure round trips by a PING for each piece they get.
pub const CHATTER: u32 = 1000;
/// That may come at once: a second of answering at most.
pub const CHATTER_AT_ONCE: u32 = 10_000;
/// Octets a compressed WebSocket message may inflate to. Far more than a plugin may look at; what swells beyond is made to do harm.
pub const INFLATED_MESSAGE_BYTES: u64 = 64 * MIB as u64;
/// How long a client that is closed here may take to read why, or what came before its answer broke off, and so may both ends of a WebSocket:
/// a few round trips of the slowest lines.
pub const FAREWELL: Duration = Duration::from_secs(2);
/// Octets they may still send meanwhile: what was on its way.
pub const FAREWELL_BYTES: u64 = MIB as u64;

/// TLS handshakes, with clients and with origins; key `handshake-deadline`: the slowest mobile lines need three seconds. Of a client's, half may
/// go into asking its origin what that speaks.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
/// Good logins that are remembered, 32 octets each, so that a tunnel costs no hash. Full: the one used longest ago costs one again.
pub const LOGINS_REMEMBERED: u64 = 10_000;
/// Names, and as many client addresses, for which wrong logins are counted. Full: those seldom used are forgotten.
pub const LOGINS_COUNTED: u64 = 10_000;
/// How long a wrong login counts.
pub const LOGIN_COUNTED_FOR: Duration = Duration::from_secs(900);
/// Longest wait of a login for its turn at hashing, which takes a core and up to 256 MiB: longer, and its client would have given up. Then 503.
pub const LOGIN_PATIENCE: Duration = Duration::from_secs(10);
/// When a wrong login is answered: longer than a hash takes, so that the time tells nothing.
pub const LOGIN_PAUSE: Duration = Duration::from_millis(500);
/// How often that doubles, with each further one for the same name: to eight seconds.
pub const LOGIN_PAUSE_DOUBLINGS: u32 = 4;
/// Wrong logins that may come from one client address in a quarter of an hour: an office after the passwords were changed.
pub const WRONG_LOGINS: u32 = 20;
/// Logins a second that are looked at from there afterwards; those that were good before do not count. Others wait ten seconds at most,
/// then 503.
pub const SUSPECT_LOGINS: u32 = 1;
/// Requests to the local interface at once, which is for its operator alone. Full: the next wait.
pub const ADMIN_CONNECTIONS: usize = 64;
/// Connections to the admin port at once: some people's pages, of some connections each, and a few scrapers. More wait in the system's queue.
pub const ADMIN_PORT_CONNECTIONS: usize = 64;
/// For a whole request head on one of them, silence between two requests, and a client that takes nothing of its answer: scrapers come every 15
/// seconds, and a page that watches connects again by itself.
pub const ADMIN_PORT_IDLE: Duration = Duration::from_secs(30);
/// Handshakes with clients at once, from the hello on, while an origin may be asked what it speaks; key `handshakes`. Each holds some 30 KiB.
/// Full: the next wait, within the time above.
pub const HANDSHAKES: usize = 1024;
/// Those of one client address; key `handshakes-per-client`. One that lets them hang waits for itself.
pub const CLIENT_HANDSHAKES: usize = 256;
/// Leaves made a second for one client address, for hosts that have none yet; key `leaves-per-client`. A page names some 30 hosts, and what
/// anybody has asked for is there for all.
pub const CLIENT_LEAVES: u32 = 50;
/// That may come at once: a company's browsers on the morning after a restart.
pub const CLIENT_LEAVES_AT_ONCE: u32 = 1000;
/// How long such a leaf is waited for at most; then the handshake fails, as it does for whoever asks for ten thousand made-up names.
pub const LEAF_PATIENCE: Duration = Duration::from_secs(2);
/// How long the first octets of a tunnel are waited for before its origin is let speak first, as SSH and SMTP servers do.
pub const SNIFF: Duration = Duration::from_millis(500);
/// Name look-up. The system's resolver tries twice for five seconds.
pub const DNS: Duration = Duration::from_secs(10);
/// All attempts to connect to an origin, over all its addresses; key `connect-deadline`.
pub const DIAL: Duration = Duration::from_secs(10);
/// What an upstream proxy takes to connect: it looks up and dials itself.
pub const UPSTREAM_CONNECT: Duration = Duration::from_secs(20);
/// Connections to origins at once, tunnels and those that are idle included; key `origin-connections`. One for each client's, and half as
/// many again for HTTP/2 clients of origins without. Full: the next waits as long as connecting may take, then 503.
pub const ORIGIN_CONNECTIONS: usize = 16_384;
/// Idle connections kept per origin: an editor opens six or eight at a time, and everybody's editor asks the same few origins. With fewer than
/// requests at a time, connections are closed that the next request would have needed.
pub const ORIGIN_IDLE_CONNECTIONS_EACH: usize = 512;
/// Idle connections kept in all, and origins of which is remembered what they speak; key `idle-origin-connections`. Full: the connection that
/// waited longest is closed, the origin that was asked for longest ago forgotten.
pub const ORIGIN_IDLE_CONNECTIONS: usize = 2048;
/// HTTP/2 connections of one tunnel to one origin. There is one until it carries as many streams as the origin allows, most often 100 or more;
/// eight carry all that a client may have even where that is 16. Full: who comes then waits for a stream to end.
pub const ORIGIN_HTTP2_CONNECTIONS_EACH: usize = 8;
/// How long an idle connection to an origin is kept: most servers close after 60 to 120 seconds.
pub const ORIGIN_IDLE: Duration = Duration::from_secs(90);
/// Least and most that `auto-splice` may be: shorter would be over before the client tries again, longer would hide a client that was mended.
pub const AUTO_SPLICE_RANGE: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(86_400);
/// Leaves kept, about 2 KiB each: 20 MB at most, and far more hosts than an office visits. Full: those least used go.
pub const LEAF_CACHE: u64 = 10_000;

/// Octets kept of each request's and response's content, and those that it may have once its content codings are undone: what inflates further is cut
/// there; key `capture`. Long chats with files attached take 2 to 3 MB.
pub const CAPTURE_BYTES: usize = 8 * MIB;
/// Most that `capture` may be: content is kept in memory until its record is written.
pub const MAX_CAPTURE_BYTES: usize = 1024 * MIB;
/// Octets of content that are kept in all, over all flows, until their observers have seen them; key `captured`. Some hundred long chats at a
/// time. Full: newer flows are kept with less, which their records say, and traffic goes on.
pub const CAPTURED_BYTES: usize = 512 * MIB;
/// Least and most of that: one small flow, and what large machines have.
pub const CAPTURED_RANGE: std::ops::RangeInclusive<usize> = 64 * KIB..=256 * 1024 * MIB;

/// Memory of one instance of a plugin; key `memory`. Rust takes 2 MB, JavaScript 30, Python 60.
pub const PLUGIN_MEMORY_BYTES: usize = 128 * MIB;
/// The logger's: it holds both contents, decoded, and the record made of them.
pub const LOGGER_MEMORY_BYTES: usize = 256 * MIB;
/// Least and most memory of an instance: a component has some static data, and WebAssembly's addresses end at 4 GiB.
pub const PLUGIN_MEMORY_RANGE: std::ops::RangeInclusive<usize> = MIB..=4096 * MIB;
/// Computing time of one call of a filter, for which its flow waits; key `call`.
pub const PLUGIN_CALL: Duration = Duration::from_millis(50);
/// Time by the clock of one call of a filter; key `wall`.
pub const PLUGIN_WALL: Duration = Duration::from_secs(5);
/// Most of either: a client has given up by then.
pub const MAX_PLUGIN_TIME: Duration = Duration::from_secs(300);
/// Instances of one plugin that answer filters' calls at a time; key `instances`. Calls take microseconds: a few are enough.
pub const PLUGIN_INSTANCES: usize = 4;
/// Most of them.
pub const MAX_PLUGIN_INSTANCES: usize = 256;
/// Bodies that one plugin's stream filter is at at a time, each with an instance for itself; key `streams`. A busy office has dozens of answers
/// streaming at once, and an instance that does nothing keeps its memory. Full: another body waits, then meets the plugin's policy.
pub const PLUGIN_STREAMS: usize = 256;
/// Most of them.
pub const MAX_PLUGIN_STREAMS: usize = 65_536;
/// How long such a body waits for its place: bodies that are no streams end within that.
pub const STREAM_PATIENCE: Duration = Duration::from_secs(1);
/// Octets of a server-sent event that are held until it is whole; parts of a larger one are filtered as they come. Models' events with a whole
/// response in them reach some 100 KiB.
pub const EVENT_BYTES: usize = MIB;
/// Computing time of an observer's call: nobody waits for it, and records of 16 MB take half a second.
pub const OBSERVER_CALL: Duration = Duration::from_secs(2);
/// The same by the clock: a disk may be slow.
pub const OBSERVER_WALL: Duration = Duration::from_secs(30);
/// Computing time of making and configuring an instance: Python imports its modules then.
pub const CONFIGURE_CALL: Duration = Duration::from_secs(2);
/// The same by the clock.
pub const CONFIGURE_WALL: Duration = Duration::from_secs(10);
/// Computing time, and time by the clock, of saving a singleton's state at a swap, and of restoring it: its flows wait for both, and a
/// state of the size below takes a tenth of that.
pub const PLUGIN_HANDOFF: Duration = Duration::from_secs(1);
/// Octets of that state: caches and counters. What must not be lost belongs into the key-value store.
pub const PLUGIN_STATE_BYTES: usize = 16 * MIB;
/// Octets a plugin may hold in the key-value store, keys, values and 64 for each entry together; key `key-value`. It is all in memory, too.
pub const KEY_VALUE_BYTES: usize = 16 * MIB;
/// Least and most of that: some entries, and what a machine's memory holds of a few such plugins.
pub const KEY_VALUE_RANGE: std::ops::RangeInclusive<usize> = 4 * KIB..=1024 * MIB;
/// Octets of one key: paths and identifiers have some hundred.
pub const KEY_VALUE_KEY_BYTES: usize = KIB;
/// Octets of one value: more belongs into a record.
pub const KEY_VALUE_VALUE_BYTES: usize = MIB;
/// How long a change may wait for the disk, which is what a killed process loses at most. Two commits a second are no burden to any disk.
pub const KEY_VALUE_COMMIT: Duration = Duration::from_millis(500);
/// How often entries that have expired are taken out although nothing changes. They are invisible before that.
pub const KEY_VALUE_SWEEP: Duration = Duration::from_secs(60);
/// Series (a name and its labels) that one plugin may publish. A label that holds users or paths would pass it, and fill what scrapes the proxy.
pub const METRIC_SERIES: usize = 1000;
/// Labels of one series: more tell nobody anything.
pub const METRIC_LABELS: usize = 8;
/// Octets of the name of a metric or a label.
pub const METRIC_NAME_BYTES: usize = 128;
/// Octets of a label's value.
pub const METRIC_VALUE_BYTES: usize = 256;
/// Octets of the content of a request that a plugin makes.
pub const OUTBOUND_REQUEST_BYTES: usize = MIB;
/// Octets of the content of the response to it: it goes into the instance's memory, next to all else.
pub const OUTBOUND_RESPONSE_BYTES: usize = 4 * MIB;
/// Calls into the host per call of a hook; key `host-calls`. Looking at every field and chunk of a large flow takes some thousand.
pub const PLUGIN_HOST_CALLS: u64 = 100_000;
/// Most that may be.
pub const MAX_PLUGIN_HOST_CALLS: u64 = 1_000_000_000;
/// Octets that one call of a hook may hand over to be kept or sent (bodies, fields, records, values), and that it may answer; key `output`. As
/// much as the queue of records takes.
pub const PLUGIN_OUTPUT_BYTES: usize = 64 * MIB;
/// Least and most of that: what it registers fits into the least.
pub const PLUGIN_OUTPUT_RANGE: std::ops::RangeInclusive<usize> = 64 * KIB..=1024 * MIB;
/// Lines a plugin may write a second, over all its instances; key `log-lines`. Twice as many may come at once.
pub const PLUGIN_LOG_LINES: u32 = 100;
/// Most of them: diagnostics are written by one thread.
pub const MAX_PLUGIN_LOG_LINES: u32 = 100_000;
/// Lines a second about failures of one build: enough to see what fails, and no way to flood a disk by failing.
pub const PLUGIN_REPORTS: u32 = 100;
/// Octets of a component's file: Python's have 20 MiB. Larger ones are refused.
pub const PLUGIN_FILE_BYTES: usize = 64 * MIB;
/// Files in the plugins folder that are looked at: more than anybody has plugins.
pub const PLUGIN_FILES: usize = 256;
/// Silence in the plugins folder before its files are read: writers get to their end.
pub const PLUGIN_SETTLE: Duration = Duration::from_millis(50);
/// How long a plugins folder that does not come to rest is waited for.
pub const PLUGIN_UNREST: Duration = Duration::from_millis(500);
/// How often the plugins folder is looked at without being told of a change: some file systems tell nothing.
pub const PLUGIN_RESCAN: Duration = Duration::from_secs(2);
/// Octets of compiled components kept: one of Python's has 35 MiB.
pub const PLUGIN_CACHE_BYTES: u64 = 512 * MIB as u64;
/// How long the compiler may take for one component: Python's take 20 s of a busy machine, whose traffic goes first.
pub const PLUGIN_COMPILE: Duration = Duration::from_secs(300);
/// Components compiled at a time: parts of compiling keep one processor busy only, which a second fills; each takes 400 MB.
pub const PLUGIN_COMPILERS: usize = 2;
/// Address space of the compiler, in octets: Python's components use 400 MB of it, and reserve several times that.
pub const PLUGIN_COMPILE_MEMORY_BYTES: u64 = 8192 * MIB as u64;
/// Good builds kept per plugin, with the one in service: what a rollback goes back to, and what one more does.
pub const PLUGIN_BUILDS: usize = 3;
/// Failures of a plugin in a row after which it is suspended. One that serves other flows meanwhile never is.
pub const PLUGIN_FAILURES: u32 = 5;
/// For how long at first: it spares the machine, and a passing trouble is hardly seen. Each try that fails doubles it.
pub const PLUGIN_FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause: a service that a plugin needs is found again within a minute.
pub const PLUGIN_LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Flows kept per plugin that its next build is tried on before it is published; key `replay` of `swap`. None: they hold what their clients said.
pub const PLUGIN_REPLAY: usize = 0;
/// Most of them: playing each takes as long as its calls do.
pub const MAX_PLUGIN_REPLAY: usize = 1000;
/// Octets of flows kept for that, those of all plugins together, and the same again for flows that have not ended: a thousand long chats.
pub const REPLAY_BYTES: usize = 64 * MIB;
/// Octets of one content of theirs, and of all WebSocket messages of one: a flow with more is not kept, for half of one proves nothing.
pub const REPLAY_CONTENT_BYTES: usize = 4 * MIB;
/// How long trying one build takes. A build that computes as long as it may in every flow is not waited for any longer.
pub const REPLAY_TIME: Duration = Duration::from_secs(30);
/// Flows per plugin that are observed or wait for it. Full: a new flow waits, then runs unobserved, and is counted.
pub const OBSERVER_QUEUE: usize = 1024;
/// How long a new flow waits for its place among them: a disk that is slow for a moment slows traffic down before it costs a record.
pub const OBSERVER_PATIENCE: Duration = Duration::from_secs(1);
/// WebSocket messages per plugin and connection that are observed or wait for it: a long answer in small pieces. Full: the next waits as a flow
/// would, then passes unobserved, and is counted.
pub const MESSAGE_QUEUE: usize = 1024;
/// Octets of them, per plugin.
pub const MESSAGE_QUEUE_BYTES: usize = 64 * MIB;

/// Octets of content that flows being recorded hold at a time. Full: what comes is not recorded, and counted.
pub const RECORDING_BYTES: usize = 256 * MIB;
/// Flows that have ended and wait to be recorded. Full: the next is lost, and counted.
pub const RECORDING_QUEUE: usize = 1024;
/// Flows that have ended and can be looked at on the status page, while somebody watches: some pages of a list. Full: the oldest goes.
pub const SHOWN_FLOWS: usize = 500;
/// Octets of content that those hold, and those in progress. Full: the oldest goes, and what comes is shown without its content.
pub const SHOWN_BYTES: usize = 64 * MIB;
/// Octets of one content or WebSocket message that can be looked at: more is nothing to read.
pub const SHOWN_BODY_BYTES: usize = MIB;
/// Beginnings and ends of flows that a viewer may be behind by: a second of a busy proxy. Full: the oldest are missed, which is told.
pub const SHOWN_NEWS: usize = 4096;
/// Records waiting to be written. Full: whoever brings one waits shortly, then it is lost, counted and reported.
pub const RECORD_QUEUE: usize = 1024;
/// Octets of them.
pub const RECORD_QUEUE_BYTES: usize = 64 * MIB;
/// How long a record waits for its place in that queue.
pub const RECORD_PATIENCE: Duration = Duration::from_millis(100);
/// Threads that write records: two overlap one's waiting for the disk with the other's work.
pub const RECORD_THREADS: usize = 2;
/// How often old records are looked for, where the configuration says which are old: what is beyond its size until then fits any disk that is
/// not full already.
pub const RECORD_PRUNE: Duration = Duration::from_secs(600);
/// How long a wall clock that has jumped ahead is not believed where it would make records old: whoever sets clocks has mended it by then, and
/// a machine that was asleep loses nothing by keeping records for another hour.
pub const CLOCK_DOUBT: Duration = Duration::from_secs(3600);
/// How long a record must have been left alone before it is let go, whatever its number: plugins may add to theirs.
pub const RECORD_QUIET: Duration = Duration::from_secs(60);

/// Spans of traces that wait to be sent: some seconds of a busy proxy. Full: the next is lost, and counted.
pub const TRACE_QUEUE: usize = 8192;
/// Spans of one delivery: what OpenTelemetry's own exporters send at once.
pub const TRACE_BATCH: usize = 512;
/// How long a span waits for others to go with.
pub const TRACE_DELAY: Duration = Duration::from_secs(1);
/// For one delivery to the collector, repetitions included. Its spans are lost then, and counted.
pub const TRACE_DELIVERY: Duration = Duration::from_secs(10);
/// For all that still waits when the proxy stops, if `grace` is not shorter.
pub const TRACE_FAREWELL: Duration = Duration::from_secs(5);
/// Octets of a collector's answer, which is a line at most times.
pub const TRACE_ANSWER_BYTES: usize = 64 * KIB;
/// Octets of one value in a trace, as a path is one. The rest is cut off.
pub const TRACE_VALUE_BYTES: usize = KIB;

/// How often the configuration and the certificates it names are looked at for changes. One is taken over when they were the same twice: half
/// of a file may make sense, too, and leave out who has to log in.
pub const CONFIG_RESCAN: Duration = Duration::from_secs(2);
/// How long a stop waits for what is in flight; key `grace`. Service managers kill after 90 seconds, containers after 10.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long what was dropped at the end of the grace period may take to be gone; it only has to be dropped.
pub const SEVER: Duration = Duration::from_secs(1);
/// Most that `grace` may be.
pub const MAX_GRACE: Duration = Duration::from_secs(3600);
