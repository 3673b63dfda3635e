//! Mutations of a real Synapse's database, by its schema: each value of each column that the importer reads becomes one that
//! nobody expects, each row is there twice or not at all. Whatever it is, the migration ends, says what it lost, and what it
//! refuses `check` has refused before.
//!
//! `MUTATION_CASES` (how many), `MUTATION_SEED` (which), `MUTATION_FROM` (the first one's number) and `MUTATION_ONLY` (a part of
//! the case's name, such as `users.name`) choose the cases; `MUTATION_SQL` runs one on its own. A case that fails is printed as
//! the SQL that makes it, for the database that the laboratory holds at the time.

mod cases;
mod database;
mod migration;
mod schema;
mod values;

use std::env;

use migration_tests::lab::{Engine, Lab};

use self::{cases::Case, database::Database, migration::Outcome};

/// Cases of a run that nobody asks more of.
const CASES: usize = 12;

#[test]
fn nothing_in_a_sqlite_database_stops_or_harms_a_migration() {
    run(Engine::Sqlite);
}

#[test]
fn nothing_in_a_postgres_database_stops_or_harms_a_migration() {
    run(Engine::Postgres);
}

fn number(name: &str, default: usize) -> usize {
    env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn run(engine: Engine) {
    let lab = Lab::database(engine).unwrap();
    let database = Database::small(engine, &lab);
    let untouched = migration::attempt(&database, &[]);
    assert!(matches!(untouched, Outcome::Moved), "{untouched:?}");
    if let Ok(sql) = env::var("MUTATION_SQL") {
        println!("{:?}", migration::attempt(&database, &[sql]));
        return;
    }
    let seed = number("MUTATION_SEED", 1);
    let only = env::var("MUTATION_ONLY").unwrap_or_default();
    let cases = cases::all(&database, seed, &only, number("MUTATION_FROM", 0));
    let wanted = cases.take(number("MUTATION_CASES", CASES));
    let [mut moved, mut refused, mut impossible] = [0_usize; 3];
    let mut failed = Vec::new();
    for Case { number, name, sql } in wanted {
        match migration::attempt(&database, &sql) {
            Outcome::Moved => moved = moved.saturating_add(1),
            Outcome::Refused => refused = refused.saturating_add(1),
            Outcome::Impossible => impossible = impossible.saturating_add(1),
            Outcome::Failed(why) => {
                println!("FAILED case {number}, {name}:\n  {}\n  {why}", sql.join("; "));
                failed.push(name);
            }
        }
    }
    println!(
        "{engine:?}, seed {seed}: {moved} moved, {refused} refused by check, {} failed, {impossible} can't be",
        failed.len()
    );
    assert_eq!(failed, [""; 0]);
    // A database where nothing can be changed would prove nothing.
    assert!(moved > 0 || !only.is_empty());
}
