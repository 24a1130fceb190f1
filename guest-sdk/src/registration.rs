//! What a plugin says at load: who it is and which flows it wants.

pub use crate::bindings::lifecycle::{BodyMode, Framing, InstanceMode, Registration, Rule};

impl Registration {
    /// `name` must equal the file's stem; `version` is the plugin's own, usually `env!("CARGO_PKG_VERSION")`. No rule yet: no flow.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            description: String::new(),
            rules: Vec::new(),
            instances: InstanceMode::Pooled,
        }
    }

    /// One sentence for people.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        text.clone_into(&mut self.description);
        self
    }

    /// One more rule. Of those that match a flow the first counts.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Exactly one instance, for which calls queue. State in memory is then whole, and everything is slower.
    #[must_use]
    pub fn singleton(mut self) -> Self {
        self.instances = InstanceMode::Singleton;
        self
    }
}

/// All that is said must hold; of what is said several times, any. Patterns are globs over the entire string.
impl Rule {
    /// Every flow, its bodies skipped.
    pub fn any() -> Self {
        Self {
            hosts: Vec::new(),
            methods: Vec::new(),
            paths: Vec::new(),
            content_types: Vec::new(),
            request_body: BodyMode::Skip,
            response_body: BodyMode::Skip,
            framing: Framing::AsReceived,
            limit: 0,
        }
    }

    /// Hosts like `*.example.test`, in any case of letters.
    #[must_use]
    pub fn host(mut self, pattern: &str) -> Self {
        self.hosts.push(pattern.to_owned());
        self
    }

    /// That method.
    #[must_use]
    pub fn method(mut self, pattern: &str) -> Self {
        self.methods.push(pattern.to_owned());
        self
    }

    /// Paths, with query, like `/v1/*`.
    #[must_use]
    pub fn path(mut self, pattern: &str) -> Self {
        self.paths.push(pattern.to_owned());
        self
    }

    /// Responses of a media type like `text/*`.
    #[must_use]
    pub fn content_type(mut self, pattern: &str) -> Self {
        self.content_types.push(pattern.to_owned());
        self
    }

    /// Keep a copy of both bodies for [`Observer`](crate::Observer), without delaying them.
    #[must_use]
    pub fn capture(self) -> Self {
        self.request_body(BodyMode::Capture).response_body(BodyMode::Capture)
    }

    /// How the request's body is met.
    #[must_use]
    pub fn request_body(mut self, mode: BodyMode) -> Self {
        self.request_body = mode;
        self
    }

    /// How the response's body is met.
    #[must_use]
    pub fn response_body(mut self, mode: BodyMode) -> Self {
        self.response_body = mode;
        self
    }

    /// How chunks are cut.
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Most octets to keep or hold per body; 0 takes the host's default.
    #[must_use]
    pub fn limit(mut self, octets: u32) -> Self {
        self.limit = octets;
        self
    }
}
