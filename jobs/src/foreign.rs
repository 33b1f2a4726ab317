//! Rows in our queues that are none of ours, told by an id that is no ULID: put there by hand, or by something else that
//! shares the database.
//!
//! The library cannot read such a row, and the worker that fetches it ends. It would be fetched again by the next, before
//! all that came later; so it is taken out of the way as soon as a worker has to start again, and looked for now and then.

use billing::store::{Db, Engine};

use crate::tuning;

/// Rows per statement.
const BATCH: i64 = 1000;

const REASON: &str = "the id is no ULID: this job was not made by billingd";

/// Finds them by an index that has nothing but such rows, so that to find none costs nothing; so does SQLite's below.
///
/// For a transaction of [`tuning::by_index`]: until the table is analyzed, almost all rows are expected to be foreign, and
/// reading all of them to be cheaper.
pub(crate) const PUT_ASIDE_POSTGRES: &str = "update apalis.jobs
    set status = 'Killed', last_result = jsonb_build_object('Err', $1::text), done_at = now(), lock_by = null, lock_at = null
    where id = any(array(select id from apalis.jobs
                         where id !~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$' and job_type like current_schema() || '.%'
                           and status in ('Pending', 'Queued', 'Running', 'Failed')
                         limit $2 for update skip locked))
    returning id, job_type";
pub(crate) const FOREIGN_SQLITE: &str = "select rowid from Jobs
    where (length(id) <> 26 or id glob '*[^0-9A-HJKMNP-TV-Z]*' or id >= '8')
      and status in ('Pending', 'Queued', 'Running', 'Failed')";

/// Whether an id is a ULID as we write them: 26 characters of Crockford base 32, in capitals. A row whose id reads the
/// same but is written in another way could not be acknowledged.
pub(crate) fn is_ours(id: &str) -> bool {
    let base32 = |byte: u8| byte.is_ascii_digit() || (byte.is_ascii_uppercase() && !b"ILOU".contains(&byte));
    id.len() == 26 && id.bytes().all(base32) && id.as_bytes()[0] <= b'7'
}

/// Marks foreign rows that wait or were fetched as dead, with the reason, and gives their ids. Safe to run at any time,
/// and from several processes.
pub(crate) async fn put_aside(db: &Db) -> sqlx::Result<Vec<String>> {
    let dead: Vec<(String, String)> = match db {
        Engine::Postgres(pool) => {
            let mut tx = tuning::by_index(pool).await?;
            let dead = sqlx::query_as(PUT_ASIDE_POSTGRES).bind(REASON).bind(BATCH).fetch_all(&mut *tx).await?;
            tx.commit().await?;
            dead
        }
        Engine::Sqlite(file) => {
            // The file has one writer, who is not kept from work to find nothing.
            let some = format!("select exists ({FOREIGN_SQLITE})");
            let (some,): (bool,) = sqlx::query_as(sqlx::AssertSqlSafe(some)).fetch_one(&file.reader).await?;
            if !some {
                return Ok(Vec::new());
            }
            let put_aside = format!(
                "update Jobs set status = 'Killed', last_result = json_object('Err', $1),
                        done_at = cast(strftime('%s', 'now') as integer), lock_by = null, lock_at = null
                 where rowid in ({FOREIGN_SQLITE} limit $2)
                 returning id, job_type"
            );
            sqlx::query_as(sqlx::AssertSqlSafe(put_aside)).bind(REASON).bind(BATCH).fetch_all(&file.writer).await?
        }
    };
    for (id, queue) in &dead {
        metrics::counter!("billingd_jobs_total", "job" => "unknown", "outcome" => "dead").increment(1);
        tracing::error!(job.id = id, queue, reason = REASON, "a job is dead");
    }
    Ok(dead.into_iter().map(|(id, _)| id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_as_we_write_it_is_ours() {
        assert!((0..1000).all(|_| is_ours(&billing::clock::new_id())));
        for id in [
            "",
            "1",
            "by-hand",
            "01jd0000000000000000000000",
            "81JD0000000000000000000000",
            "01JD000000000000000000000I",
            "01JD0000000000000000000000A",
            "01JD000000000000000000000é",
        ] {
            assert!(!is_ours(id), "{id}");
        }
    }
}
