"""The database is brought to what this version needs, once; and again where that is safe."""

import pytest
from msgspec.structs import replace
from spanloom_sinks import migrate
from spanloom_sinks.settings import RetentionSettings
from spanloom_sinks.store import Store


@pytest.fixture(scope="module")
def fresh(database):
    return replace(database, clickhouse_database=f"{database.clickhouse_database}_migrate")


def test_migrations_apply_once_and_every_view_answers(fresh):
    assert len(migrate.apply(fresh)) == len(migrate.migrations())
    assert migrate.apply(fresh) == []
    store = Store(fresh)
    tables = store.query("SELECT name FROM system.tables WHERE database = currentDatabase()").to_series().to_list()
    of_now = "(since = now(), until = now())"
    ranged = ("rolled_up", "rolled_up_traces")
    for table in tables:
        assert (
            store.query(f"SELECT * FROM {table}{of_now if table in ranged else ''}").height == 0
            or table == "migrations"
        )
    store.close()


def test_what_was_applied_is_not_changed_silently_but_views_are_renewed(fresh):
    store = Store(fresh)
    store.command("ALTER TABLE migrations UPDATE digest = 'old' WHERE name LIKE 'views/%' SETTINGS mutations_sync = 1")
    assert migrate.apply(fresh) == [f"applied {name}" for name, _, repeatable in migrate.migrations() if repeatable]
    store.command(
        "ALTER TABLE migrations UPDATE digest = 'old' WHERE name = '0001_spans.sql' SETTINGS mutations_sync = 1"
    )
    store.close()
    with pytest.raises(migrate.MigrationError, match=r"^0001_spans\.sql was changed after it was applied"):
        migrate.apply(fresh)


def test_the_days_that_rows_live_follow_the_settings(database):
    kept = RetentionSettings(**{f"keep_{table}_days": 20_000 for table in RetentionSettings().days()})
    assert migrate.apply(database, kept) == []
    assert migrate.apply(database, replace(kept, keep_traces_days=9)) == ["rows of traces now live 9 days, not 20000"]
    assert migrate.apply(database, replace(kept, keep_traces_days=9)) == []
    migrate.apply(database, kept)


def test_all_tables_that_lose_rows_have_a_setting(database):
    store = Store(database)
    with_ttl = store.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine_full LIKE '% TTL %'"
    )
    store.close()
    assert set(with_ttl.to_series()) == set(RetentionSettings().days())
