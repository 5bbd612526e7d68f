//! Pages over an API that answers what a test has it answer, as a browser sees them.

mod api;
mod entry;
mod pages;
