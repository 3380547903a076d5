//! What the tests share: a laboratory with a vault and a server, trees of files, and servers on loopback.

pub(crate) mod fault_proxy;
pub(crate) mod lab;
pub(crate) mod servers;
pub(crate) mod tree;
pub(crate) mod web;
