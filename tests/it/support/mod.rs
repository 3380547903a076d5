//! What the tests share: a lab with a vault and a server, running programs, trees of files, and servers on loopback.

pub(crate) mod fault_proxy;
pub(crate) mod lab;
pub(crate) mod running;
pub(crate) mod servers;
pub(crate) mod strace;
pub(crate) mod tree;
pub(crate) mod web;
