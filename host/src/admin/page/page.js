// The status page: flows as they happen, one of them in detail, plugins, and who used what.
//
// Everything it shows comes from beside it, with the token in each request; nothing is stored but the token, for as long as the tab is open.
"use strict";

const MOST = 500; // Rows that are kept: more is nothing to read.
const $ = (id) => document.getElementById(id);
const flows = new Map();
let token = sessionStorage.getItem("token") || "";
let shown = "flows";
let paused = false;
let missed = 0;
let connection = 0;

// A link may carry the token behind the #, which no server gets to see.
if (location.hash.startsWith("#token=")) {
    token = decodeURIComponent(location.hash.slice("#token=".length));
    sessionStorage.setItem("token", token);
    history.replaceState(null, "", location.pathname);
}

function make(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
        if (key === "onclick") element.addEventListener("click", value);
        else if (value !== undefined && value !== null) element.setAttribute(key, value);
    }
    // Text only: what clients and servers wrote is never markup.
    for (const child of children.flat()) if (child !== null && child !== undefined) element.append(child);
    return element;
}

async function ask(path, options) {
    const response = await fetch(path, { ...options, headers: { Authorization: "Bearer " + token }, cache: "no-store" });
    if (response.status === 401) login(token ? "That is not the token." : "");
    if (!response.ok) {
        const said = await response.json().catch(() => ({}));
        throw new Error(said.error || "the proxy answered " + response.status);
    }
    return response;
}

function login(why) {
    $("login").hidden = false;
    $("login-error").textContent = why;
    for (const view of ["flows", "detail", "plugins", "usage"]) $(view).hidden = true;
    $("token").focus();
}

$("login").addEventListener("submit", (event) => {
    event.preventDefault();
    token = $("token").value.trim();
    sessionStorage.setItem("token", token);
    $("login").hidden = true;
    show("flows");
    follow();
});

function show(view) {
    shown = view;
    for (const name of ["flows", "detail", "plugins", "usage"]) $(name).hidden = name !== view;
    for (const button of document.querySelectorAll("nav button")) {
        if (button.dataset.view === view) button.setAttribute("aria-current", "page");
        else button.removeAttribute("aria-current");
    }
    if (view === "plugins") plugins();
    if (view === "flows") draw();
}
for (const button of document.querySelectorAll("nav button")) button.addEventListener("click", () => show(button.dataset.view));

// Flows -------------------------------------------------------------------------------------------------------------------------------------

async function follow() {
    const mine = ++connection;
    while (mine === connection) {
        try {
            const response = await ask("/v1/watch");
            $("state").textContent = "live";
            $("state").className = "good";
            await read(response.body.getReader(), mine);
        } catch (error) {
            if (!$("login").hidden) return;
        }
        $("state").textContent = "the proxy does not answer; trying again";
        $("state").className = "bad";
        await new Promise((done) => setTimeout(done, 2000));
    }
}

async function read(reader, mine) {
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
        const { done, value } = await reader.read();
        if (done || mine !== connection) return;
        text += decoder.decode(value, { stream: true });
        let end;
        while ((end = text.indexOf("\n\n")) >= 0) {
            const piece = text.slice(0, end);
            text = text.slice(end + 2);
            if (piece.startsWith("data: ")) news(JSON.parse(piece.slice(6)));
        }
    }
}

function news(piece) {
    if (piece.version) $("version").textContent = piece.version;
    if (paused) {
        missed += piece.flows.length;
    } else {
        for (const flow of piece.flows) flows.set(flow.flow, flow);
        missed += piece.missed;
    }
    for (const id of flows.keys()) {
        if (flows.size <= MOST) break;
        flows.delete(id);
    }
    $("missed").textContent = missed ? missed + " flows or changes were not shown" : "";
    if (shown === "flows") draw();
}

function bytes(count) {
    for (const unit of ["B", "KiB", "MiB"]) {
        if (count < 1024) return (unit === "B" ? count : count.toFixed(1)) + " " + unit;
        count /= 1024;
    }
    return count.toFixed(1) + " GiB";
}

const took = (micros) => (micros < 1000000 ? (micros / 1000).toFixed(micros < 10000 ? 1 : 0) + " ms" : (micros / 1000000).toFixed(1) + " s");
const isBad = (flow) => flow.outcome && (flow.outcome !== "completed" || !flow.status || flow.status >= 400);

function wanted(flow) {
    const kind = $("kind").value;
    if ((kind === "bad" && !isBad(flow)) || (kind === "open" && flow.outcome) || (kind === "ws" && flow.status !== 101)) return false;
    const text = [flow.user, flow.client, flow.method, flow.origin + flow.path, flow.status, flow.outcome].join(" ").toLowerCase();
    return $("search").value.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

let drawing = false;
function draw() {
    // Once per frame, however fast flows come.
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
        drawing = false;
        const focused = document.activeElement && document.activeElement.dataset.flow;
        const list = [...flows.values()].filter(wanted).reverse();
        $("rows").replaceChildren(...list.map(row));
        $("empty").hidden = list.length > 0;
        if (focused) document.querySelector(`[data-flow="${focused}"]`)?.focus();
    });
}

function row(flow) {
    const time = new Date(flow.began / 1000);
    const status = flow.outcome ? (flow.status ?? "–") : (flow.status ?? "…");
    const where = make("button", { type: "button", "data-flow": flow.flow, onclick: () => detail(flow.flow) }, flow.origin + flow.path);
    return make("tr", {},
        make("td", { title: time.toISOString() }, time.toLocaleTimeString()),
        make("td", { title: flow.client }, flow.user || "–"),
        make("td", {}, flow.method),
        make("td", { class: "where" }, where),
        make("td", { class: isBad(flow) ? "bad" : "", title: flow.outcome || "in progress" }, String(status)),
        make("td", { class: "number" }, bytes(flow.sent)),
        make("td", { class: "number" }, flow.messages ? flow.messages + " messages" : bytes(flow.received)),
        make("td", { class: "number" }, flow.outcome ? took(flow.micros) : "…"));
}

for (const id of ["search", "kind"]) $(id).addEventListener("input", draw);
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("clear").addEventListener("click", () => { flows.clear(); missed = 0; $("missed").textContent = ""; draw(); });
$("pause").addEventListener("click", () => {
    paused = !paused;
    $("pause").setAttribute("aria-pressed", String(paused));
});

// One flow ----------------------------------------------------------------------------------------------------------------------------------

const pretty = (text) => { try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; } };
const fold = (title, open, ...inside) => { const element = make("details", {}, make("summary", {}, title), ...inside); element.open = open; return element; };

function message(title, message) {
    if (!message) return [make("h3", {}, title), make("p", {}, "There was none.")];
    const fields = message.fields.concat(message.trailers).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
    const notes = [bytes(message.length), message.is_cut ? "cut short" : "", message.trouble || ""].filter(Boolean).join("; ");
    return [
        make("h3", {}, title),
        fold(message.version + ", " + message.fields.length + " fields", false, make("dl", {}, fields)),
        fold("Content: " + notes, message.length > 0 && message.length < 20000, make("pre", { tabindex: 0 }, pretty(message.text))),
    ];
}

async function detail(id) {
    show("detail");
    $("detail-title").textContent = "Flow " + id;
    $("detail-body").replaceChildren(make("p", {}, "…"));
    $("detail-title").focus();
    try {
        const flow = await (await ask("/v1/watch/" + id)).json();
        const contents = flow.contents;
        $("detail-title").textContent = flow.method + " " + (contents ? contents.url : flow.origin + flow.path);
        const facts = { User: flow.user || "nobody said", Client: flow.client, Status: flow.status ?? "no response", Outcome: flow.outcome, Took: took(flow.micros) };
        const body = [make("dl", {}, Object.entries(facts).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]))];
        const steps = flow.explanation ? flow.explanation.steps : [];
        body.push(make("h3", {}, "Plugins"), make("p", {}, steps.length ? "" : "No plugin was called about it."), make("ul", {}, steps.map((step) =>
            make("li", {}, `${step.plugin} ${step.version} (${step.hash}), ${step.hook}: ${step.said}, ${step.calls} calls, ${took(step.micros)}`
                + (step.changes.length ? "; changed " + step.changes.join(", ") : "")))));
        if (!contents) body.push(make("p", { class: "note" }, "Fields and contents are not shown here (admin.content is false)."));
        else {
            if (contents.said) body.push(make("h3", {}, "What the model said"), make("pre", { tabindex: 0 }, contents.said));
            body.push(...message("Request", contents.request), ...message("Response", contents.response));
            if (contents.events.length) body.push(fold(contents.events.length + " server-sent events", false, contents.events.map((event) => make("pre", {}, event.event + ": " + pretty(event.data)))));
            if (contents.messages.length) body.push(make("h3", {}, "WebSocket messages"), ...contents.messages.map((message) =>
                fold(`${took(message.at)} ${message.by}: ${message.kind}, ${bytes(message.length)}`, message.length < 2000, make("pre", {}, pretty(message.text)))));
        }
        $("detail-body").replaceChildren(...body);
    } catch (error) {
        $("detail-body").replaceChildren(make("p", { class: "bad" }, error.message));
    }
}
$("back").addEventListener("click", () => show("flows"));
document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && shown === "detail") show("flows");
    if (event.key === "/" && shown === "flows" && !["INPUT", "SELECT"].includes(document.activeElement.tagName)) { event.preventDefault(); $("search").focus(); }
});

// Plugins -----------------------------------------------------------------------------------------------------------------------------------

async function plugins() {
    try {
        const list = await (await ask("/v1/plugins")).json();
        $("plugin-list").replaceChildren(...list.map(plugin));
    } catch (error) {
        $("plugin-list").replaceChildren(make("p", { class: "bad" }, error.message));
    }
}

function plugin(one) {
    const facts = {
        State: one.state + (one.loading ? ", a newer build is being loaded" : ""),
        Build: (one.version || "none") + (one.hash ? " (" + one.hash.slice(0, 12) + ")" : ""),
        File: one.file || "built in",
        Hooks: one.hooks.join(", "),
        "May use": one.capabilities.join(", "),
        Calls: `${one.calls}, ${one.failures} failed, ${one.skipped} skipped`,
        Time: `half within ${took(one.p50_us)}, 99 of 100 within ${took(one.p99_us)}`,
        Memory: bytes(one.memory_bytes),
        Flows: `${one.unobserved} not observed, ${one.lost} lost`,
    };
    const back = one.previous
        ? make("button", { type: "button", onclick: () => act("/v1/plugins/" + encodeURIComponent(one.name) + "/rollback") }, "Roll " + one.name + " back to " + one.previous.slice(0, 12))
        : null;
    return make("article", {},
        make("h3", {}, one.name),
        one.refused ? make("p", { class: "bad" }, "What its file holds is refused: " + one.refused) : null,
        make("dl", {}, Object.entries(facts).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
        back);
}

async function act(path) {
    $("done").textContent = "…";
    try {
        const said = await (await ask(path, { method: "POST" })).json();
        $("done").textContent = said.done.join("; ");
    } catch (error) {
        $("done").textContent = error.message;
    }
    plugins();
}
$("reload").addEventListener("click", () => act("/v1/plugins/reload"));

// Usage -------------------------------------------------------------------------------------------------------------------------------------

$("question").addEventListener("submit", async (event) => {
    event.preventDefault();
    $("counted").textContent = "counting …";
    try {
        const query = new URLSearchParams({ by: $("by").value, since: $("since").value, until: $("until").value });
        const used = await (await ask("/v1/usage?" + query)).json();
        const most = Math.max(1, ...used.rows.map((row) => row.counts.requests));
        if ($("by").value !== "day") used.rows.sort((one, other) => other.counts.requests - one.counts.requests);
        const heads = [used.by.join(", "), "requests", "", "chat", "completions", "failed", "tokens in", "tokens out"];
        const line = ({ key, counts }) => make("tr", {},
            make("th", { scope: "row" }, key.join(", ")), make("td", { class: "number" }, String(counts.requests)),
            make("td", { class: "where" }, make("progress", { max: most, value: counts.requests, "aria-label": counts.requests + " requests" })),
            ["chat", "completions", "failed", "input_tokens", "output_tokens"].map((name) => make("td", { class: "number" }, String(counts[name]))));
        const table = make("table", {}, make("thead", {}, make("tr", {}, heads.map((head) => make("th", { scope: "col" }, head)))), make("tbody", {}, used.rows.map(line)));
        $("chart").replaceChildren(make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Usage" }, table));
        $("counted").textContent = used.rows.length + " rows" + (used.skipped ? "; " + used.skipped + " files are no records" : "");
    } catch (error) {
        $("counted").textContent = error.message;
    }
});

if (token) { show("flows"); follow(); } else login("");
