//! The stages on a real journal and a real lake, in a folder.

mod audit;
mod crashes;
mod path;
mod place;
