//! From the traits to the component's exports.
//!
//! Place: only [`export!`](crate::export!) names what is here.

#[cfg(target_family = "wasm")]
pub use component::{Exported, Place, Placed};

use crate::{Plugin, Registration, settings};

/// Exports a plugin and the hooks it names from the component: any of `connect_filter`, `request_filter`, `response_filter`,
/// `stream_filter`, `message_filter`, `observer`, `message_observer`, `state_handoff`, each of whose traits the type implements.
///
/// Expands on WebAssembly only: the exported names contain characters that native linkers refuse.
#[macro_export]
macro_rules! export {
    ($plugin:ty: $($hook:ident),+ $(,)?) => {
        #[cfg(target_family = "wasm")]
        // The canonical ABI passes pointers; the code is generated.
        #[allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
        const _: () = {
            ::std::thread_local!(static PLUGIN: $crate::export::Place<$plugin> = const { ::std::cell::RefCell::new(None) });

            impl $crate::export::Placed for $plugin {
                fn place() -> &'static ::std::thread::LocalKey<$crate::export::Place<Self>> {
                    &PLUGIN
                }
            }

            type Exported = $crate::export::Exported<$plugin>;
            $crate::bindings::lifecycle::export!(Exported with_types_in $crate::bindings::lifecycle);
            $($crate::bindings::$hook::export!(Exported with_types_in $crate::bindings::$hook);)+
        };
    };
}

/// The plugin that a configuration text makes.
///
/// # Errors
/// Where the text is not what `P::Config` takes, or the plugin refuses it.
pub fn configure<P: Plugin>(config: &str) -> Result<(P, Registration), String> {
    P::configure(settings::read(config)?)
}

/// The hooks carry handles into the host, which exist on WebAssembly only.
#[cfg(target_family = "wasm")]
mod component {
    use std::{cell::RefCell, marker::PhantomData, thread::LocalKey};

    use crate::{
        ChunkAction, ClientInfo, ConnectAction, ConnectFilter, Direction, Flow, Message, MessageAction, MessageFilter, MessageObserver,
        MessageRecord, Observer, Plugin, Registration, RequestAction, RequestFilter, ResponseAction, ResponseFilter, StateHandoff,
        StreamFilter, bindings, bindings::imports::context,
    };

    /// Where an instance keeps its plugin: empty until `configure`.
    pub type Place<P> = RefCell<Option<P>>;

    /// A plugin that has its place.
    pub trait Placed: Plugin {
        /// The one of this instance.
        fn place() -> &'static LocalKey<Place<Self>>;
    }

    /// Implements what the generated exports ask for by what the plugin implements.
    pub struct Exported<P>(PhantomData<P>);

    impl<P: Placed> Exported<P> {
        /// # Panics
        /// Before `configure`, which the contract rules out.
        fn with<R>(call: impl FnOnce(&mut P) -> R) -> R {
            P::place().with_borrow_mut(|plugin| match plugin {
                Some(plugin) => call(plugin),
                None => panic!("a hook was called before configure"),
            })
        }
    }

    impl<P: Placed> bindings::lifecycle::Guest for Exported<P> {
        fn configure(config: String) -> Result<Registration, String> {
            let (plugin, registration) = super::configure::<P>(&config)?;
            P::place().set(Some(plugin));
            Ok(registration)
        }
    }

    impl<P: Placed + ConnectFilter> bindings::connect_filter::Guest for Exported<P> {
        fn on_connect(client: ClientInfo, host: String, port: u16) -> ConnectAction {
            Self::with(|plugin| plugin.on_connect(&client, &host, port))
        }
    }

    impl<P: Placed + RequestFilter> bindings::request_filter::Guest for Exported<P> {
        fn on_request(flow: context::Flow, body_held: bool) -> RequestAction {
            Self::with(|plugin| plugin.on_request(&Flow::from(flow), body_held))
        }
    }

    impl<P: Placed + ResponseFilter> bindings::response_filter::Guest for Exported<P> {
        fn on_response(flow: context::Flow, body_held: bool) -> ResponseAction {
            Self::with(|plugin| plugin.on_response(&Flow::from(flow), body_held))
        }
    }

    impl<P: Placed + StreamFilter> bindings::stream_filter::Guest for Exported<P> {
        fn on_body_start(body_id: u32, flow: context::Flow, of: Direction) -> bool {
            Self::with(|plugin| plugin.on_body_start(body_id, &Flow::from(flow), of))
        }

        fn on_chunk(body_id: u32, chunk: Vec<u8>) -> ChunkAction {
            Self::with(|plugin| plugin.on_chunk(body_id, chunk))
        }

        fn on_body_end(body_id: u32, broken: bool) -> Vec<u8> {
            Self::with(|plugin| plugin.on_body_end(body_id, broken))
        }
    }

    impl<P: Placed + MessageFilter> bindings::message_filter::Guest for Exported<P> {
        fn on_message(flow: context::Flow, of: Direction, message: Message) -> MessageAction {
            Self::with(|plugin| plugin.on_message(&Flow::from(flow), of, message))
        }
    }

    impl<P: Placed + Observer> bindings::observer::Guest for Exported<P> {
        fn on_flow_end(flow: context::Flow) {
            Self::with(|plugin| plugin.on_flow_end(&Flow::from(flow)));
        }
    }

    impl<P: Placed + MessageObserver> bindings::message_observer::Guest for Exported<P> {
        fn on_message_passed(flow: context::Flow, message: MessageRecord) {
            Self::with(|plugin| plugin.on_message_passed(&Flow::from(flow), message));
        }
    }

    impl<P: Placed + StateHandoff> bindings::state_handoff::Guest for Exported<P> {
        fn save() -> Vec<u8> {
            Self::with(StateHandoff::save)
        }

        fn restore(from_version: String, state: Vec<u8>) -> Result<(), String> {
            Self::with(|plugin| plugin.restore(&from_version, state))
        }
    }
}
