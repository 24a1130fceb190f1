//! Requests as Copilot's clients make them, and answers as its servers give them.

use flowgate_testkit::client::request;

/// The host of completions; a reserved name in the place of the real one.
pub(crate) const HOST: &str = "copilot-proxy.example.test";
/// The path of completions.
pub(crate) const COMPLETIONS: &str = "/v1/engines/copilot-codex/completions";
/// What the machine id below begins with, as file names have it.
pub(crate) const MACHINE: &str = "4ce93ec3b2";

/// Fields of a completion, in the order that VS Code sends them.
pub(crate) fn fields(request_id: &str) -> Vec<(&'static str, String)> {
    let fixed = [
        ("authorization", "Bearer tid=0000"),
        ("openai-organization", "github-copilot"),
        ("vscode-machineid", "4ce93ec3b20000000000000000000000000000000000000000000000000000aa"),
        ("editor-version", "vscode/1.95.3"),
        ("content-type", "application/json"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("user-agent", "GithubCopilot/1.248.0"),
    ];
    let mut fields: Vec<_> = fixed.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    fields.push(("x-request-id", request_id.to_owned()));
    fields
}

/// The octets of a completion request.
pub(crate) fn completion(host: &str, request_id: &str, content: &[u8]) -> Vec<u8> {
    let fields = fields(request_id);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    request("POST", COMPLETIONS, host, &fields, content)
}

/// Server-sent events of a completion, the last one that there is no more.
pub(crate) fn events(count: usize) -> Vec<String> {
    let mut events: Vec<String> =
        (1..count).map(|at| format!("data: {{\"id\":\"cmpl-1\",\"choices\":[{{\"text\":\"wörd {at} 你好\",\"index\":0}}]}}\n\n")).collect();
    events.push("data: [DONE]\n\n".to_owned());
    events
}
