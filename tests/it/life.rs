//! The life of the real binary: it starts or says why not, follows signals, and stops without losing anything.

mod reloading;
mod starting;
mod stopping;
