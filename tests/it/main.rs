//! Against what is committed and against real programs.

mod documents;
mod pages;
