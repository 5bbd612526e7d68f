//! What was decided in each second, minute and hour, as far back as a picture of it goes: a second for ten minutes, a minute for
//! a day, an hour for 35 days.
//!
//! [`Counts`] are gathered while hits are decided, a [`Series`] is what became of them, and a [`Store`] holds those of a node
//! within a bound. Only what happened is kept: a series of which nothing comes takes no more room, and no time. Nodes
//! tell each other ([`Told`]), and what they tell is [`joined`] by its time. Of limits that want it, [`Tops`] knows which keys are denied
//! most.

mod counts;
mod point;
mod series;
mod store;
mod told;
mod top;
mod window;

pub use counts::{Counts, Latency};
pub use point::{Point, Total, joined};
pub use series::Series;
pub use store::{Decided, NAMES_MAX, Store};
pub use told::{Asked, NamedTotal, Sample, Told, busiest};
pub use top::{TopKey, TopKeys, Tops};
pub use window::Window;
