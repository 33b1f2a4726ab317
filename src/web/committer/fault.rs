//! What went wrong with a commit, sorted by what to do about it: try the batch again, try its rows singly, or give up.

/// Why a batch was not committed, as far as is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Store(#[from] sqlx::Error),
    #[error("the commit took too long")]
    Late,
    #[error("the commit panicked")]
    Panic,
    #[error("{rows} rows were committed and {answers} answers came back")]
    Miscounted { rows: usize, answers: usize },
}

impl Fault {
    /// Whether the same batch may well succeed at once on another connection: this one broke (a database that restarts,
    /// a failover), or the transaction lost to another.
    pub(crate) fn is_passing(&self) -> bool {
        use sqlx::Error;
        match self {
            Self::Store(Error::Io(_) | Error::Protocol(_) | Error::Tls(_) | Error::WorkerCrashed) => true,
            Self::Store(Error::Database(error)) => match error.code().as_deref() {
                // PostgreSQL: connection lost, transaction rolled back, shut down by the administrator, starting up.
                Some(code) if is_sqlstate(code) => {
                    code.starts_with("08") || code.starts_with("40") || code.starts_with("57P")
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether one row of the batch may be to blame, so that the others deserve a try of their own. What is not known
    /// is: trying is safe, and costs at most a batch of failing statements.
    pub(crate) fn may_be_one_row(&self) -> bool {
        use sqlx::Error;
        match self {
            Self::Late
            | Self::Miscounted { .. }
            | Self::Store(Error::PoolTimedOut | Error::PoolClosed | Error::Configuration(_)) => false,
            Self::Panic => true,
            Self::Store(Error::Database(error)) => match error.code().as_deref() {
                // PostgreSQL: a table that is missing, a server that is read-only, out of room or going down.
                Some(code) if is_sqlstate(code) => {
                    !matches!(code.get(..2), Some("25" | "28" | "42" | "53" | "57" | "58"))
                }
                // SQLite: busy, locked, out of memory, read-only, input/output, corrupt, full, cannot open, no database.
                // The low byte is the primary code.
                Some(code) => {
                    !matches!(code.parse::<u32>().map(|code| code & 0xff), Ok(5..=8 | 10 | 11 | 13 | 14 | 26))
                }
                None => true,
            },
            Self::Store(_) => !self.is_passing(),
        }
    }
}

// PostgreSQL's codes have five characters, SQLite's are numbers of at most four digits.
fn is_sqlstate(code: &str) -> bool {
    code.len() == 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_to_do() {
        let io = || sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        let cases = [
            (Fault::Store(io()), true, false),
            (Fault::Store(sqlx::Error::WorkerCrashed), true, false),
            (Fault::Store(sqlx::Error::PoolTimedOut), false, false),
            (Fault::Store(sqlx::Error::PoolClosed), false, false),
            (Fault::Store(sqlx::Error::RowNotFound), false, true),
            (Fault::Panic, false, true),
            (Fault::Late, false, false),
        ];
        for (fault, passing, one_row) in cases {
            assert_eq!((fault.is_passing(), fault.may_be_one_row()), (passing, one_row), "{fault:?}");
        }
    }
}
