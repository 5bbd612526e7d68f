//! Laws of records, and catalogues that talk to each other.

mod changes;
mod disks;
mod exchanges;
mod laws;
mod net;
