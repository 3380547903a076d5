//! Settings files in the state folder, of the object store and of the throttle, and asking that they are read again.

pub(crate) mod reload;
pub(crate) mod store;
pub(crate) mod throttle;
pub(crate) mod window;
