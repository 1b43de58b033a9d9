//! Why a callback runs before another.

use super::member::Member;

/// One reason of an edge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The first writes what the second reads.
    WriterBeforeReader {
        /// The path that both name, the longer where one lies below the other.
        path: String,
    },
    /// Both access a path, and the first asks to run first.
    RunFirst {
        /// The path.
        path: String,
    },
    /// The second asks to run after the first.
    RunAfter {
        /// The name by which the second refers to the first.
        name: String,
    },
    /// The first asks to run before the second.
    RunBefore {
        /// The name by which the first refers to the second.
        name: String,
    },
}

impl Reason {
    /// The reason as a sentence without a full stop.
    pub fn sentence(&self, before: &Member<'_>, after: &Member<'_>) -> String {
        let (first, second) = (&before.id, &after.id);
        match self {
            Reason::WriterBeforeReader { path } => {
                format!("`{first}` writes `{path}`, which `{second}` reads")
            }
            Reason::RunFirst { path } => {
                format!("both access `{path}`, and `{first}` asks to run first")
            }
            Reason::RunAfter { name } if *name == *first => {
                format!("`{second}` asks to run after `{name}`")
            }
            Reason::RunAfter { name } => {
                format!("`{second}` asks to run after `{name}`, which is a name of `{first}`")
            }
            Reason::RunBefore { name } if *name == *second => {
                format!("`{first}` asks to run before `{name}`")
            }
            Reason::RunBefore { name } => {
                format!("`{first}` asks to run before `{name}`, which is a name of `{second}`")
            }
        }
    }

    /// The reason in a few words, for drawings.
    pub fn short(&self) -> String {
        match self {
            Reason::WriterBeforeReader { path } => path.clone(),
            Reason::RunFirst { path } => format!("first on {path}"),
            Reason::RunAfter { name } => format!("after {name}"),
            Reason::RunBefore { name } => format!("before {name}"),
        }
    }
}
