//! What the contract in `wit/` looks like in Rust; generated.
//!
//! Place: named by `plugin` only. The resource `flow` is a number that is good for one call.

#![allow(missing_docs, unreachable_pub, unsafe_code, unused_variables, clippy::all, reason = "generated")]

use wasmtime::component::bindgen;

bindgen!({
    path: "../wit",
    world: "everything",
    imports: {
        // These may decode content, wait for a place in a queue or for the network, or take a while.
        "flowgate:plugin/records.keep": async | trappable,
        "flowgate:plugin/outbound.fetch": async | trappable,
        "flowgate:plugin/key-value.keys": async | trappable,
        "flowgate:plugin/context.[method]flow.body-info": async | trappable,
        "flowgate:plugin/context.[method]flow.body": async | trappable,
        "flowgate:plugin/context.[method]flow.body-text": async | trappable,
        "flowgate:plugin/context.[method]flow.read-body": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    additional_derives: [PartialEq],
    with: { "flowgate:plugin/context.flow": crate::plugin::capability::context::Handle },
});
