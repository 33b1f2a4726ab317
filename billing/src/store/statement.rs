//! One statement, two engines: `fetch!` and `execute!` expand it to both arms.
//!
//! The one thing that differs is where the rows of a bulk write come from. SQLite reads them from a JSON array of objects,
//! one parameter; PostgreSQL takes an array for each column, which costs it a fifth of what JSON does.

/// Runs a query: `fetch!(all, db, "select …", binds…)`, with `one` or `optional` for `all`. Or one around a table `of` rows:
/// `fetch!(all, tx, of &rows, "select … from ", [id text, delta bigint], " as r where …", binds…)`. Its columns are members
/// of the rows, as Rust has them and as they are serialized, with PostgreSQL's types; what else is bound begins at `$2`.
macro_rules! fetch {
    (one, $($rest:tt)*) => { $crate::store::statement::fetch!(@fetch_one, $($rest)*) };
    (optional, $($rest:tt)*) => { $crate::store::statement::fetch!(@fetch_optional, $($rest)*) };
    (all, $($rest:tt)*) => { $crate::store::statement::fetch!(@fetch_all, $($rest)*) };
    (@$method:ident, $on:expr, of $($rest:tt)*) => { $crate::store::statement::of!(query_as, $method, $on, $($rest)*) };
    (@$method:ident, $on:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match $on.executor() {
            $crate::store::Engine::Postgres(on) => sqlx::query_as($sql)$(.bind($bind))*.$method(on).await,
            $crate::store::Engine::Sqlite(on) => sqlx::query_as($sql)$(.bind($bind))*.$method(on).await,
        }
    };
}

/// Runs one statement in a transaction and gives the number of rows it touched; takes what `fetch!` takes.
macro_rules! execute {
    ($tx:expr, of $($rest:tt)*) => { $crate::store::statement::of!(query, touched, $tx, $($rest)*) };
    ($tx:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match $tx.executor() {
            $crate::store::Engine::Postgres(on) => sqlx::query($sql)$(.bind($bind))*.execute(on).await.map(|done| done.rows_affected()),
            $crate::store::Engine::Sqlite(on) => sqlx::query($sql)$(.bind($bind))*.execute(on).await.map(|done| done.rows_affected()),
        }
    };
}

/// What stands behind `of`: the rows, what comes before their table, its columns, what comes after it. Where the engines differ in
/// one of the two, it is named by both.
macro_rules! of {
    ($query:ident, $method:ident, $on:expr, $rows:expr, { postgres: $postgres:expr, sqlite: $sqlite:expr }, $columns:tt, $after:expr
     $(, $bind:expr)* $(,)?) => {
        $crate::store::statement::of!(@ $query, $method, $on, $rows, $postgres, $sqlite, $columns, $after, $after $(, $bind)*)
    };
    ($query:ident, $method:ident, $on:expr, $rows:expr, $before:expr, $columns:tt, { postgres: $postgres:expr, sqlite: $sqlite:expr }
     $(, $bind:expr)* $(,)?) => {
        $crate::store::statement::of!(@ $query, $method, $on, $rows, $before, $before, $columns, $postgres, $sqlite $(, $bind)*)
    };
    ($query:ident, $method:ident, $on:expr, $rows:expr, $before:expr, $columns:tt, $after:expr $(, $bind:expr)* $(,)?) => {
        $crate::store::statement::of!(@ $query, $method, $on, $rows, $before, $before, $columns, $after, $after $(, $bind)*)
    };
    (@ $query:ident, $method:ident, $on:expr, $rows:expr, $before_postgres:expr, $before_sqlite:expr,
     [$first:ident $first_type:ident $(, $name:ident $type:ident)* $(,)?], $postgres:expr, $sqlite:expr $(, $bind:expr)*) => {{
        let rows = $rows;
        match $on.executor() {
            $crate::store::Engine::Postgres(on) => {
                static SQL: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
                    let columns = [(stringify!($first), stringify!($first_type)) $(, (stringify!($name), stringify!($type)))*];
                    let binds: &[&str] = &[$(stringify!($bind)),*];
                    format!("{}{}{}", $before_postgres, $crate::store::statement::arrays(&columns, binds.len()), $postgres)
                });
                // As `arrays` numbers them.
                let query = sqlx::$query(SQL.as_str()).bind(rows.iter().map(|row| &row.$first).collect::<Vec<_>>());
                let query = query$(.bind($bind))*$(.bind(rows.iter().map(|row| &row.$name).collect::<Vec<_>>()))*;
                $crate::store::statement::of!(@run $method, query, on)
            }
            $crate::store::Engine::Sqlite(on) => match $crate::store::rows::as_json(rows) {
                Ok(rows) => {
                    // Materialized and binary: otherwise every column would have its row made into text, or parsed, again.
                    let query = sqlx::$query(concat!(
                        $before_sqlite, "(with r as materialized (select value from jsonb_each($1)) select value ->> '", stringify!($first), "' as ", stringify!($first),
                        $(", value ->> '", stringify!($name), "' as ", stringify!($name),)* " from r)", $sqlite
                    ));
                    let query = query.bind(rows)$(.bind($bind))*;
                    $crate::store::statement::of!(@run $method, query, on)
                }
                Err(error) => Err(error),
            },
        }
    }};
    (@run touched, $query:expr, $on:expr) => { $query.execute($on).await.map(|done| done.rows_affected()) };
    (@run $method:ident, $query:expr, $on:expr) => { $query.$method($on).await };
}

/// The statement that reads the newest rows first, of a table that keeps `created_at`. On SQLite that is the order in which the
/// rows lie: nothing is sorted, and once there are enough the rest is not looked at.
macro_rules! newest {
    ($db:expr, $select:expr, $limit:expr) => {
        match $db {
            $crate::store::Engine::Postgres(_) => concat!($select, " order by created_at desc, id desc ", $limit),
            $crate::store::Engine::Sqlite(_) => concat!($select, " order by rowid desc ", $limit),
        }
    };
}
pub(crate) use {execute, fetch, newest, of};

/// The table of rows on PostgreSQL. Its first column is `$1`, then come the `others` that are bound, then its other columns:
/// so what else is bound has one number on both engines.
///
/// The first column is a part of the key, never null: PostgreSQL is asked whether it equals itself, in words that it does
/// not see through, so that it expects one row instead of a hundred, and looks up each in the other tables instead of each
/// of theirs in these, whatever size it takes those for.
pub(crate) fn arrays(columns: &[(&str, &str)], others: usize) -> String {
    let number = |index: usize| if index == 0 { 1 } else { 1 + others + index };
    let arrays: Vec<String> =
        columns.iter().enumerate().map(|(index, (_, kind))| format!("${}::{kind}[]", number(index))).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let first = names.first().copied().unwrap_or_default();
    format!(
        "(select * from unnest({}) as t({}) where t.{first}::text = t.{first}::text || '')",
        arrays.join(", "),
        names.join(", ")
    )
}
