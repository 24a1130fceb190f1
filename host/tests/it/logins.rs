//! Logins that hold for a connection, as NTLM and Negotiate have them: whose they are, and that their legs meet.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use flowgate_testkit::{
    Client, Gate, Origin, Script, Setup,
    client::{H1, Response, request},
    proxy::{Options, Proxy},
};

/// Who is there on a connection.
#[derive(Clone)]
enum Known {
    Challenged,
    LoggedIn(String),
}

/// An origin that asks who is there once on each connection, and never again.
async fn asking_once(setup: Setup, gate: &Gate) -> Origin {
    let (known, gate) = (Mutex::new(HashMap::new()), gate.clone());
    Origin::start(setup, move |seen| {
        if seen.target == "/held" {
            return Script::new(200).hold(&gate).data("held");
        }
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let credentials: Vec<&str> = seen.get("authorization").unwrap_or_default().split(' ').collect();
        match (&credentials[..], known.get(&seen.connection).cloned()) {
            ([""], Some(Known::LoggedIn(user))) => Script::ok(format!("you are {user}")),
            ([_, "hello"], _) => {
                known.insert(seen.connection, Known::Challenged);
                Script::new(401).field("WWW-Authenticate", "NTLM challenge")
            }
            ([_, "proof", user], Some(Known::Challenged)) => {
                known.insert(seen.connection, Known::LoggedIn((*user).to_owned()));
                Script::ok(format!("you are {user}"))
            }
            ([_, "proof", _], _) => Script::new(403),
            _ => Script::new(401).field("WWW-Authenticate", "Negotiate, NTLM"),
        }
    })
    .await
}

/// A connection of one user's, inside a tunnel or to the proxy itself.
struct User {
    connection: H1,
    proxy_login: Option<String>,
    origin: String,
    target: &'static str,
}

impl User {
    async fn inside(client: &Client, origin: &Origin) -> Self {
        let connection = client.h1(&origin.authority()).await.unwrap();
        Self { connection, proxy_login: None, origin: String::new(), target: "/" }
    }

    async fn at_proxy(client: &Client, origin: &Origin) -> Self {
        let proxy_login = client.authorization().map(|value| String::from_utf8(value.to_vec()).unwrap());
        let connection = client.to_proxy().await.unwrap();
        Self { connection, proxy_login, origin: format!("http://{}", origin.authority()), target: "/" }
    }

    async fn begin(&mut self, credentials: Option<&str>) {
        let mut fields: Vec<(&str, &str)> = Vec::new();
        fields.extend(self.proxy_login.iter().map(|login| ("Proxy-Authorization", login.as_str())));
        fields.extend(credentials.iter().map(|credentials| ("Authorization", *credentials)));
        let host = self.origin.strip_prefix("http://").unwrap_or("x");
        self.connection.send(request("GET", &format!("{}{}", self.origin, self.target), host, &fields, b"")).await.unwrap();
    }

    async fn ask(&mut self, credentials: Option<&str>) -> (u16, String) {
        self.begin(credentials).await;
        let response: Response = self.connection.response("GET").await.unwrap();
        (response.status(), response.text())
    }
}

#[tokio::test]
async fn a_login_of_a_connection_is_nobody_elses() {
    for (setup, inside, scheme) in [(Setup::clear(), false, "NTLM"), (Setup::http1(), true, "negotiate")] {
        let origin = asking_once(setup, &Gate::new()).await;
        let proxy = Proxy::without_plugins(Options::users([("ana", "a"), ("bob", "b")])).await;
        let user = async |client: &Client| match inside {
            true => User::inside(client, &origin).await,
            false => User::at_proxy(client, &origin).await,
        };
        let (as_ana, as_bob) = (proxy.client_as("ana", "a"), proxy.client_as("bob", "b"));
        let (mut ana, mut bob, mut also_ana) = (user(&as_ana).await, user(&as_bob).await, user(&as_ana).await);

        assert_eq!(ana.ask(Some(&format!("{scheme} hello"))).await.0, 401);
        assert_eq!(ana.ask(Some(&format!("{scheme} proof ana"))).await, (200, "you are ana".to_owned()));

        assert_eq!(bob.ask(None).await.0, 401, "inside: {inside}");
        assert_eq!(also_ana.ask(None).await.0, 401, "inside: {inside}");
        assert_eq!(ana.ask(None).await, (200, "you are ana".to_owned()), "inside: {inside}");
        // Another principal on the same connection, as where a proxy in front has one for several people.
        if !inside {
            ana.proxy_login = bob.proxy_login.clone();
            assert_eq!(ana.ask(None).await.0, 401);
        }
    }
}

#[tokio::test]
async fn the_legs_of_a_handshake_meet_on_one_connection() {
    for (setup, inside) in [(Setup::clear(), false), (Setup::http1(), true)] {
        let gate = Gate::new();
        let origin = asking_once(setup, &gate).await;
        let proxy = Proxy::without_plugins(Options::new()).await;
        let user = async || match inside {
            true => User::inside(&proxy.client(), &origin).await,
            false => User::at_proxy(&proxy.client(), &origin).await,
        };
        let (mut ana, mut others) = (user().await, [user().await, user().await]);

        for (at, (credentials, status)) in [(None, 401), (Some("NTLM hello"), 401), (Some("NTLM proof ana"), 200)].into_iter().enumerate() {
            assert_eq!(ana.ask(credentials).await.0, status, "{credentials:?}, inside: {inside}");
            if let Some(other) = others.get_mut(at) {
                // Whatever connection is free is taken now, and not given back.
                other.target = "/held";
                other.begin(None).await;
                origin.journal().wait("the others' requests", |requests, _| (requests.len() == 2 * at + 2).then_some(())).await;
            }
        }

        assert_eq!(ana.ask(None).await, (200, "you are ana".to_owned()));
        gate.open_for(others.len());
    }
}

#[tokio::test]
async fn a_login_ends_with_its_clients_connection() {
    let gate = Gate::new();
    let origin = asking_once(Setup::http1(), &gate).await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let (mut bob, mut ana) = (User::inside(&proxy.client(), &origin).await, User::inside(&proxy.client(), &origin).await);
    (bob.target, ana.target) = ("/held", "/held");
    bob.begin(None).await;
    origin.journal().wait("his request", |requests, _| (requests.len() == 1).then_some(())).await;
    ana.begin(Some("NTLM hello")).await;
    origin.journal().wait("her request", |requests, _| (requests.len() == 2).then_some(())).await;
    for user in [&mut bob, &mut ana] {
        gate.open();
        assert_eq!(user.connection.response("GET").await.unwrap().text(), "held");
    }

    drop(ana);

    origin.journal().wait("the end of what she logged in on", |_, peers| peers[1].ended.clone()).await;
    gate.open();
    assert_eq!(bob.ask(None).await.0, 200);
    assert_eq!(origin.seen()[2].connection, 0, "what is nobody's waits on");
}
