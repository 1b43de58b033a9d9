//! Why one callback comes before another.

use super::member::Member;

/// One reason of an edge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The first writes what the second reads.
    WriterBeforeReader {
        /// The path that both name, the longer where one lies below the other.
        path: String,
    },
    /// Both touch a path, and the first asked to go first.
    RunFirst {
        /// The path.
        path: String,
    },
    /// The second asked to run after the first.
    RunAfter {
        /// As the second named the first.
        name: String,
    },
    /// The first asked to run before the second.
    RunBefore {
        /// As the first named the second.
        name: String,
    },
}

impl Reason {
    /// The reason as a sentence without a full stop.
    pub fn tell(&self, before: &Member<'_>, after: &Member<'_>) -> String {
        let (first, second) = (&before.id, &after.id);
        match self {
            Reason::WriterBeforeReader { path } => {
                format!("`{first}` writes `{path}`, which `{second}` reads")
            }
            Reason::RunFirst { path } => {
                format!("both touch `{path}`, and `{first}` asks to run first")
            }
            Reason::RunAfter { name } if *name == *first => {
                format!("`{second}` asks to run after `{name}`")
            }
            Reason::RunAfter { name } => {
                format!("`{second}` asks to run after `{name}`, which `{first}` is")
            }
            Reason::RunBefore { name } if *name == *second => {
                format!("`{first}` asks to run before `{name}`")
            }
            Reason::RunBefore { name } => {
                format!("`{first}` asks to run before `{name}`, which `{second}` is")
            }
        }
    }

    /// The reason in a few words, for graphs.
    pub fn short(&self) -> String {
        match self {
            Reason::WriterBeforeReader { path } => path.clone(),
            Reason::RunFirst { path } => format!("first on {path}"),
            Reason::RunAfter { name } => format!("after {name}"),
            Reason::RunBefore { name } => format!("before {name}"),
        }
    }
}
