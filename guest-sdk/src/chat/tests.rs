use serde_json::{Value, json};

use super::*;
use crate::{MessageKind, testing::Sample};

fn events(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("message"))).collect()
}

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: Some(id.into()), name: name.into(), arguments: arguments.into() }
}

fn usage(input_tokens: u64, cached_tokens: u64, output_tokens: u64) -> Option<Usage> {
    Some(Usage { input_tokens, cached_tokens, output_tokens })
}

#[test]
fn interfaces_are_known_by_their_paths() {
    let table = [
        ("/chat/completions", Some(Api::ChatCompletions)),
        ("/openai/deployments/x/chat/completions?api-version=1", Some(Api::ChatCompletions)),
        ("/v1/engines/copilot-codex/completions", Some(Api::Completions)),
        ("/responses", Some(Api::Responses)),
        ("/backend-api/codex/responses/", Some(Api::Responses)),
        ("/chat/completions/?x", Some(Api::ChatCompletions)),
        ("/v1/messages/", Some(Api::Messages)),
        ("/v1/responses/resp_1", None),
        ("/v1/messages?beta=true", Some(Api::Messages)),
        ("/v1/messages/count_tokens", None),
        ("/api/messages", None),
        ("/agents/docs", Some(Api::ChatCompletions)),
        ("/agents", None),
        ("/completions.html", None),
    ];
    for (path, api) in table {
        assert_eq!(Api::of_path(path), api, "{path}");
        let is_wanted = PATHS.iter().any(|pattern| crate::text::glob(pattern, path));
        assert!(api.is_none() || is_wanted, "{path}");
    }
}

#[test]
fn the_last_that_a_person_said_is_found_in_every_shape() {
    let table = [
        (json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]}), Some("hi"), true),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]}]}),
            Some("a\nb"),
            true,
        ),
        (json!({"messages": [{"role": "user", "content": "hi"}, {"role": "tool", "content": "done"}]}), Some("hi"), false),
        (
            json!({"messages": [{"role": "user", "content": "hi"}, {"role": "user", "content": [{"type": "tool_result", "content": "done"}]}]}),
            Some("hi"),
            false,
        ),
        (json!({"input": "hi"}), Some("hi"), true),
        (json!({"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]}), Some("hi"), true),
        (json!({"input": [{"type": "function_call_output", "output": "done"}]}), None, false),
        (json!({"type": "response.create", "response": {"input": "hi"}}), Some("hi"), true),
        (json!({"prompt": "fn main", "suffix": "}"}), Some("fn main"), true),
        (json!({"prompt": ["one", "two"]}), Some("one"), true),
        (json!({}), None, false),
        (json!([1]), None, false),
    ];
    for (body, user, is_turn) in table {
        let prompt = Prompt::of(&body);
        assert_eq!((prompt.user.as_deref(), prompt.is_turn), (user, is_turn), "{body}");
    }
    let prompt = Prompt::read(br#"{"model":"m","prompt":"x","extra":{"language":"rust"}}"#);
    assert_eq!((prompt.model.as_deref(), prompt.language.as_deref()), (Some("m"), Some("rust")));
    assert_eq!(Prompt::read(b"{\"model\":"), Prompt::default());
}

#[test]
fn chat_completions_are_put_together() {
    let delta = |delta: Value, finish: Value| json!({"model": "m-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    let piece = |arguments: &str| json!({"tool_calls": [{"index": 1, "function": {"arguments": arguments}}]});
    let stream = events(&[
        json!({"choices": [], "prompt_filter_results": []}),
        delta(json!({"role": "assistant", "content": "", "reasoning_text": "so "}), Value::Null),
        delta(json!({"content": null, "reasoning_text": "what"}), Value::Null),
        delta(json!({"content": "Good "}), Value::Null),
        delta(json!({"content": "day"}), Value::Null),
        delta(
            json!({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}]}),
            Value::Null,
        ),
        delta(json!({"tool_calls": [{"index": 1, "id": "b", "function": {"name": "read", "arguments": "{\"at\""}}]}), Value::Null),
        delta(piece(":1}"), Value::Null),
        delta(json!({}), json!("tool_calls")),
        json!({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}}),
    ]) + "data: [DONE]\n\n";

    let expected = Answer {
        model: Some("m-1".into()),
        text: "Good day".into(),
        reasoning: "so what".into(),
        tool_calls: vec![call("a", "look", "{}"), call("b", "read", "{\"at\":1}")],
        finish_reason: Some("tool_calls".into()),
        usage: usage(10, 4, 5),
        error: None,
        is_complete: true,
    };
    assert_eq!(Answer::read(stream.as_bytes()), expected);

    // The same as one document, its text and its calls in choices of their own, as Copilot has it for some models.
    let mut choices = json!([
        {"index": 0, "message": {"content": "Good day", "reasoning_text": "so what"}, "finish_reason": "tool_calls"},
        {"index": 0, "message": {"content": null, "tool_calls": [
            {"id": "a", "function": {"name": "look", "arguments": "{}"}}, {"id": "b", "function": {"name": "read", "arguments": "{\"at\":1}"}}]}}
    ]);
    let details = json!({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}});
    let document = |choices: &Value| json!({"model": "m-1", "choices": choices, "usage": details}).to_string();
    assert_eq!(Answer::read(document(&choices).as_bytes()), expected);
    for choice in choices.as_array_mut().expect("it is a list") {
        choice.as_object_mut().expect("it is an object").remove("index");
    }
    assert_eq!(Answer::read(document(&choices).as_bytes()), expected);
}

#[test]
fn of_alternatives_the_first_counts() {
    let text = |index: u64, text: &str| json!({"choices": [{"index": index, "text": text, "finish_reason": null}]});
    let stream = events(&[text(1, "b1"), text(0, "a1 "), text(0, "a2"), text(1, "b2")]);

    let answer = Answer::read(stream.as_bytes());

    assert_eq!((answer.text.as_str(), answer.is_complete), ("a1 a2", false));
}

#[test]
fn what_the_alternatives_say_is_not_mixed() {
    let called = |id: &str| json!({"tool_calls": [{"id": id, "function": {"name": "look", "arguments": ""}}]});
    let document = json!({"choices": [
        {"index": 0, "message": {"content": "a", "reasoning_content": "so", "tool_calls": called("x")["tool_calls"]}, "finish_reason": "tool_calls"},
        {"index": 1, "message": {"content": "b", "reasoning_content": "what", "tool_calls": called("y")["tool_calls"]}, "finish_reason": "length"},
    ]});
    let answer = Answer::read(document.to_string().as_bytes());
    assert_eq!((answer.text.as_str(), answer.reasoning.as_str(), answer.finish_reason.as_deref()), ("a", "so", Some("tool_calls")));
    assert_eq!(answer.tool_calls, [call("x", "look", "")]);

    let piece = |index: u64, finish: Value| json!({"choices": [{"index": index, "delta": {"content": "x"}, "finish_reason": finish}]});
    let answer = Answer::read(events(&[piece(0, Value::Null), piece(1, json!("stop"))]).as_bytes());
    assert_eq!((answer.finish_reason, answer.is_complete), (None, false), "the second alone is over");
}

#[test]
fn calls_of_one_index_are_told_apart_by_their_ids() {
    let of = |index: Option<u64>, id: &str, name: &str, arguments: Value| {
        let mut call = json!({"id": id, "function": {"name": name, "arguments": arguments}});
        if let Some(index) = index {
            call["index"] = index.into();
        }
        json!({"choices": [{"delta": {"tool_calls": [call]}}]})
    };
    for index in [Some(0), None] {
        let stream = events(&[
            of(index, "a", "one", json!("{\"at\"")),
            // Its name once more, as some origins have it; an id of its own, as others have it.
            of(index, "a", "one", json!(":1")),
            of(index, "anew", "", json!("}")),
            of(index, "b", "two", json!("{}")),
            of(index, "", "", json!(" ")),
            of(index, "c", "two", json!({"at": 3})),
        ]);
        let expected = [call("a", "one", "{\"at\":1}"), call("b", "two", "{} "), call("c", "two", "{\"at\":3}")];
        assert_eq!(Answer::read(stream.as_bytes()).tool_calls, expected, "{index:?}");
    }
}

#[test]
fn what_came_from_a_cache_counts_once() {
    let table = [
        (json!({"prompt_tokens": 1000, "prompt_tokens_details": {"cached_tokens": 900}, "cache_read_input_tokens": 900}), (1000, 900)),
        (json!({"prompt_tokens": 1000, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 50}), (1000, 900)),
        (json!({"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 900}, "cache_read_input_tokens": 900}), (1000, 900)),
        (json!({"prompt_tokens": 1000, "input_tokens": 0, "prompt_tokens_details": {"cached_tokens": 900}}), (1000, 900)),
        (json!({"input_tokens": 50, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 50}), (1000, 900)),
    ];
    for (said, (input, cached)) in table {
        let document = json!({"choices": [], "usage": said}).to_string();
        assert_eq!(Answer::read(document.as_bytes()).usage, usage(input, cached, 0), "{document}");
    }
}

#[test]
fn a_sentence_that_citations_divide_is_whole() {
    let text = |text: &str| json!({"type": "text", "text": text});
    let content = json!([text("The sky "), text("is blue"), text("."), {"type": "server_tool_use", "id": "w", "name": "look", "input": {}}, text("So")]);
    let document = json!({"type": "message", "content": content}).to_string();

    assert_eq!(Answer::read(document.as_bytes()).text, "The sky is blue.\nSo");
}

#[test]
fn responses_are_put_together() {
    let item = json!({"type": "function_call", "call_id": "a", "name": "look", "arguments": ""});
    let begin = [
        json!({"type": "response.created", "response": {"model": "m", "error": null, "output": []}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "summary": []}}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "so what"}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": {"type": "message", "content": []}}),
        json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "Good "}),
        json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "day"}),
        json!({"type": "response.output_item.added", "output_index": 2, "item": item}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 2, "delta": "{\"at\""}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 2, "delta": ":1}"}),
    ];
    let output = json!([
        {"type": "reasoning", "summary": [{"text": "so what"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "Good day"}]},
        {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{\"at\":1}"},
        {"type": "web_search_call", "id": "w", "action": {"query": "q"}},
    ]);
    let details = json!({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 1}, "output_tokens": 2});
    let whole = json!({"object": "response", "model": "m", "status": "completed", "error": null, "output": output, "usage": details});
    let mut expected = Answer {
        model: Some("m".into()),
        text: "Good day".into(),
        reasoning: "so what".into(),
        tool_calls: vec![call("a", "look", "{\"at\":1}")],
        ..Answer::default()
    };

    assert_eq!(Answer::read(events(&begin).as_bytes()), expected);

    (expected.finish_reason, expected.usage, expected.is_complete) = (Some("completed".into()), usage(9, 1, 2), true);
    expected.tool_calls.push(call("w", "web_search_call", "{\"query\":\"q\"}"));
    let stream = [&begin[..], &[json!({"type": "response.completed", "response": whole})]].concat();
    assert_eq!(Answer::read(events(&stream).as_bytes()), expected);
    assert_eq!(Answer::read(whole.to_string().as_bytes()), expected);
}

#[test]
fn a_response_that_ends_early_says_why() {
    let incomplete = json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}});
    let failed = json!({"status": "failed", "error": {"code": "x", "message": "overloaded"}});

    let cut = Answer::read(events(&[json!({"type": "response.incomplete", "response": incomplete})]).as_bytes());
    let broken = Answer::read(events(&[json!({"type": "response.failed", "response": failed})]).as_bytes());

    assert_eq!((cut.finish_reason.as_deref(), cut.is_complete), (Some("max_output_tokens"), true));
    assert_eq!((broken.finish_reason.as_deref(), broken.error.as_deref()), (Some("failed"), Some("overloaded")));
}

#[test]
fn messages_are_put_together() {
    let first = json!({"input_tokens": 3, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 7, "output_tokens": 1});
    let block = |index: u64, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |index: u64, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stream = events(&[
        json!({"type": "message_start", "message": {"model": "m", "content": [], "usage": first}}),
        block(0, json!({"type": "thinking", "thinking": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "so what"})),
        delta(0, json!({"type": "signature_delta", "signature": "AAAA"})),
        json!({"type": "ping"}),
        block(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "Good "})),
        delta(1, json!({"type": "text_delta", "text": "day"})),
        json!({"type": "content_block_stop", "index": 1}),
        block(2, json!({"type": "tool_use", "id": "a", "name": "look", "input": {}})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "{\"at\""})),
        delta(2, json!({"type": "input_json_delta", "partial_json": ":1}"})),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 12}}),
        json!({"type": "message_stop"}),
    ]);

    let expected = Answer {
        model: Some("m".into()),
        text: "Good day".into(),
        reasoning: "so what".into(),
        tool_calls: vec![call("a", "look", "{\"at\":1}")],
        finish_reason: Some("tool_use".into()),
        usage: usage(30, 20, 12),
        error: None,
        is_complete: true,
    };
    assert_eq!(Answer::read(stream.as_bytes()), expected);

    let content = json!([{"type": "thinking", "thinking": "so what"}, {"type": "text", "text": "Good day"},
        {"type": "tool_use", "id": "a", "name": "look", "input": {"at": 1}}]);
    let last = json!({"input_tokens": 3, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 7, "output_tokens": 12});
    let document = json!({"type": "message", "model": "m", "content": content, "stop_reason": "tool_use", "usage": last}).to_string();
    assert_eq!(Answer::read(document.as_bytes()), expected);
}

#[test]
fn errors_are_read_in_every_shape() {
    for content in [
        r#"{"error": {"message": "no", "type": "x"}}"#,
        r#"{"error": "no"}"#,
        "\u{feff}{\"error\": \"no\"}",
        r#" [{"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}}]"#,
        r#"{"type": "error", "error": {"type": "overloaded_error", "message": "no"}}"#,
        "data: {\"type\": \"error\", \"code\": \"x\", \"message\": \"no\"}\n\n",
    ] {
        let answer = Answer::read(content.as_bytes());
        assert_eq!((answer.error.as_deref(), answer.is_complete), (Some("no"), false), "{content}");
    }
    for content in ["", "<html>", "{\"choices\": [", "data: {\"choices\"", "data: 1\n\n", "[]"] {
        assert_eq!(Answer::read(content.as_bytes()), Answer::default(), "{content}");
    }
}

#[test]
fn no_document_makes_it_fail() {
    // Wrong types and numbers at every place: nothing but an empty answer comes of them.
    for value in ["null", "-1", "1e300", "\"x\"", "[]", "{}", "[[]]", "18446744073709551615"] {
        for text in [
            format!(
                r#"{{"choices": [{{"index": {value}, "delta": {{"content": {value}, "tool_calls": [{{"index": {value}, "function": {value}}}]}}}}]}}"#
            ),
            format!(r#"{{"type": "response.output_text.delta", "output_index": {value}, "content_index": {value}, "delta": {value}}}"#),
            format!(r#"{{"type": "response.reasoning_text.delta", "summary_index": {value}, "content_index": {value}, "delta": "x"}}"#),
            format!(r#"{{"type": "response.completed", "response": {value}, "usage": {value}}}"#),
            format!(r#"{{"type": "content_block_start", "index": {value}, "content_block": {value}}}"#),
            format!(r#"{{"type": {value}, "error": {value}, "model": {value}, "choices": {value}, "usage": {{"input_tokens": {value}}}}}"#),
        ] {
            let stream = format!("data: {text}\n\ndata: {text}\n\n");
            let _ = (Answer::read(text.as_bytes()), Answer::read(stream.as_bytes()).text, Prompt::read(text.as_bytes()));
        }
    }
}

#[test]
fn what_the_proxy_answered_itself_is_no_exchange() {
    let post = || Sample::new("POST", "https://a.test/v1/messages").request_body("{}");
    let table = [
        (post().response(200), 1),
        (post(), 1),
        (post().response(502).outcome(Outcome::AnsweredBy("host".into())), 0),
        (post().response(403).outcome(Outcome::AnsweredBy("gate".into())), 1),
        (Sample::new("GET", "https://a.test/v1/messages").response(200), 0),
        (Sample::new("POST", "https://a.test/v1/files").response(200), 0),
    ];
    for (at, (sample, count)) in table.into_iter().enumerate() {
        assert_eq!(ended(&sample.into()).len(), count, "{at}");
    }
}

#[test]
fn the_editor_is_what_the_client_says_it_is() {
    let editor = |fields: &[(&str, &str)]| {
        let sample = Sample::new("POST", "https://a.test/responses").response(200);
        let flow = fields.iter().fold(sample, |sample, (name, value)| sample.request_header(name, value)).into();
        ended(&flow).remove(0).editor
    };

    assert_eq!(editor(&[("User-Agent", "x/1"), ("Editor-Version", "vscode/1.95.3")]).as_deref(), Some("vscode/1.95.3"));
    assert_eq!(editor(&[("User-Agent", "claude-cli/1.0 (external)")]).as_deref(), Some("claude-cli/1.0"));
    assert_eq!(editor(&[("User-Agent", "")]), None);
}

/// Plays messages to `passed` as a host does, and tells what came of each.
fn converse(flow: &Flow, said: &[(Direction, Value)]) -> Vec<Vec<Exchange>> {
    struct Watch(Vec<Vec<Exchange>>);
    impl crate::Plugin for Watch {
        type Config = crate::NoConfig;
        fn configure(_: crate::NoConfig) -> Result<(Self, crate::Registration), String> {
            Err("it is made by hand".to_owned())
        }
    }
    impl crate::MessageObserver for Watch {
        fn on_message_passed(&mut self, flow: &Flow, message: MessageRecord) {
            self.0.push(passed(flow, &message));
        }
    }
    let mut watch = Watch(Vec::new());
    for (sequence, (sent, json)) in said.iter().enumerate() {
        let whole = json.as_str().map_or_else(|| json.to_string(), str::to_owned).into_bytes();
        let length = if whole.starts_with(b"{") && !whole.ends_with(b"}") { whole.len() + 1 } else { whole.len() };
        let (sequence, at) = (sequence as u64, 100 + sequence as u64);
        let message = MessageRecord { sent: *sent, kind: MessageKind::Text, at, sequence, length: length as u32, content: whole };
        crate::testing::pass_message(&mut watch, flow, message);
    }
    watch.0
}

#[test]
fn exchanges_over_a_websocket_end_with_their_answers() {
    use Direction::{Request, Response};
    let flow: Flow = Sample::new("GET", "https://a.test/responses").response(101).into();
    let ask = |text: &str| (Request, json!({"type": "response.create", "model": "m", "input": text}));
    let say = |text: &str| (Response, json!({"type": "response.output_text.delta", "delta": text}));
    let done = || (Response, json!({"type": "response.completed", "response": {"status": "completed"}}));

    let told = converse(
        &flow,
        &[ask("one"), say("1"), done(), ask("two"), say("2"), ask("three"), say("3"), say("!"), done(), ask("four"), say("4")],
    );

    let texts = |exchanges: &[Exchange]| -> Vec<(String, String, bool, u64, Option<u64>)> {
        let text = |of: &Exchange| (of.prompt.user.clone().unwrap(), of.answer.text.clone(), of.answer.is_complete, of.began, of.ended);
        exchanges.iter().map(text).collect()
    };
    let of = |prompt: &str, text: &str, is_complete, began, ended| (prompt.to_owned(), text.to_owned(), is_complete, began, Some(ended));
    assert_eq!(texts(&told[2]), [of("one", "1", true, 100, 102)]);
    assert_eq!(texts(&told[8]), [of("two", "2", false, 103, 104), of("three", "3!", true, 105, 108)]);
    assert_eq!(told.iter().filter(|told| !told.is_empty()).count(), 2);
    assert_eq!(texts(&ended(&flow)), [of("four", "4", false, 109, 110)]);
    assert!(ended(&flow).is_empty(), "its messages are let go");
}

#[test]
fn a_message_of_which_only_the_beginning_is_held_still_ends_its_exchange() {
    let flow: Flow = Sample::new("GET", "https://a.test/responses").response(101).into();
    let said = [
        (Direction::Request, json!("{\"type\":\"response.create\",\"input\":\"lo")),
        (Direction::Response, json!({"type": "response.output_text.delta", "delta": "hi"})),
        (Direction::Response, json!("{\"type\": \"response.completed\",\"response\":{\"outp")),
    ];

    let told = converse(&flow, &said);

    let [exchange] = &told[2][..] else { panic!("there is one") };
    assert_eq!((&exchange.prompt, exchange.answer.text.as_str(), exchange.answer.is_complete), (&Prompt::default(), "hi", false));
}
