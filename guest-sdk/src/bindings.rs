//! Bindings generated from `wit/`. Nothing here is written by hand but which world is generated where.
//!
//! Place: everything else in this crate stands on it; plugins see it only through the crate's root.
//!
//! Imports are generated once. Each hook interface is a world of its own with its own `export` macro, because a component exports
//! exactly what it implements: linking joins the worlds whose macro was expanded, and drops the imports nobody called.

#![allow(missing_docs, unreachable_pub)]
// The canonical ABI passes pointers; this is the one place where they are touched.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks)]

pub mod imports {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package flowgate:sdk;
            world imports {
                import flowgate:plugin/types@0.1.0;
                import flowgate:plugin/context@0.1.0;
                include flowgate:plugin/capabilities@0.1.0;
            }
        ",
        additional_derives: [Clone, PartialEq],
        generate_unused_types: true,
        generate_all,
    });

    pub use flowgate::plugin::*;
}

macro_rules! hook {
    ($module:ident, $wit:literal $(, $import:literal: $path:ident)*) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../wit",
                inline: $wit,
                additional_derives: [Clone, PartialEq],
                generate_unused_types: true,
                pub_export_macro: true,
                with: { $($import: crate::bindings::imports::$path),* },
            });
            pub use exports::flowgate::plugin::$module::*;
        }
    };
}

hook!(lifecycle, "package flowgate:sdk; world lifecycle { export flowgate:plugin/lifecycle@0.1.0; }");
hook!(connect_filter, "package flowgate:sdk; world connect-filter { export flowgate:plugin/connect-filter@0.1.0; }",
    "flowgate:plugin/types@0.1.0": types);
hook!(request_filter, "package flowgate:sdk; world request-filter { export flowgate:plugin/request-filter@0.1.0; }",
    "flowgate:plugin/types@0.1.0": types, "flowgate:plugin/context@0.1.0": context);
hook!(response_filter, "package flowgate:sdk; world response-filter { export flowgate:plugin/response-filter@0.1.0; }",
    "flowgate:plugin/types@0.1.0": types, "flowgate:plugin/context@0.1.0": context);
hook!(stream_filter, "package flowgate:sdk; world stream-filter { export flowgate:plugin/stream-filter@0.1.0; }",
    "flowgate:plugin/types@0.1.0": types, "flowgate:plugin/context@0.1.0": context);
hook!(message_filter, "package flowgate:sdk; world message-filter { export flowgate:plugin/message-filter@0.1.0; }",
    "flowgate:plugin/types@0.1.0": types, "flowgate:plugin/context@0.1.0": context);
hook!(observer, "package flowgate:sdk; world observer { export flowgate:plugin/observer@0.1.0; }",
    "flowgate:plugin/types@0.1.0": types, "flowgate:plugin/context@0.1.0": context);
hook!(message_observer, "package flowgate:sdk; world message-observer { export flowgate:plugin/message-observer@0.1.0; }",
    "flowgate:plugin/types@0.1.0": types, "flowgate:plugin/context@0.1.0": context);
hook!(state_handoff, "package flowgate:sdk; world state-handoff { export flowgate:plugin/state-handoff@0.1.0; }");
