use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use lake::{Commit, Options, TableSpec};

use crate::common::*;

on_every_store! {
    a_session_has_every_table_under_its_name,
    a_session_stands_still_while_writers_go_on,
    statistics_never_change_an_answer,
    results_have_plain_types,
    a_query_has_bounded_memory_and_spills,
}

async fn a_session_has_every_table_under_its_name(place: Place) {
    let lake = place.lake().await;
    assert_eq!(count(&lake.session().await.unwrap(), "select 1").await, 1, "also a lake without tables can be asked");
    for (name, number) in
        [("bronze.events", 1), ("silver.events", 2), ("gold.activity", 3), ("ledger", 4), ("dead_letters", 5), ("other.x", 6)]
    {
        let mut table = lake.table(&TableSpec { name: name.to_owned(), ..spec() }).await.unwrap();
        table.append(vec![day_rows(number, 1)], Commit::default()).await.unwrap();
    }
    std::fs::create_dir_all(place.files().join("bronze/stray/_delta_log")).unwrap();
    std::fs::write(place.files().join("bronze/stray/_delta_log/left"), "x").unwrap();
    std::fs::create_dir_all(place.files().join("empty")).unwrap();
    assert_eq!(lake.tables().await.unwrap().len(), 7);
    let session = lake.session().await.unwrap();
    for (name, number) in
        [("bronze.events", 1), ("silver.events", 2), ("gold.activity", 3), ("ledger", 4), ("dead_letters", 5), ("other.x", 6)]
    {
        assert_eq!(count(&session, &format!("select n from {name}")).await, number, "{name}");
    }
    let joined = "select b.n + s.n + l.n from bronze.events b, silver.events s, ledger l where b.day = s.day and l.day = b.day";
    assert_eq!(count(&session, joined).await, 7);
}

async fn a_session_stands_still_while_writers_go_on(place: Place) {
    let lake = place.lake().await;
    let mut table = lake.table(&spec()).await.unwrap();
    table.append(vec![day_rows(0, 2)], Commit::default()).await.unwrap();
    let session = lake.session().await.unwrap();
    table.append(vec![day_rows(2, 2)], Commit::default()).await.unwrap();
    let sql = "select count(*) from bronze.events";
    assert_eq!((count(&session, sql).await, count(&lake.session().await.unwrap(), sql).await), (2, 4));

    session.register_table("silver.view", table.provider().await.unwrap()).unwrap();
    assert_eq!(count(&session, "select count(*) from silver.view").await, 4);
}

/// Statistics are bounds: no query may take them for values, or lose rows to them.
async fn statistics_never_change_an_answer(place: Place) {
    let lake = place.lake().await;
    let mut table = lake.table(&spec()).await.unwrap();
    for n in 0..6 {
        table.append(vec![rows(n * 50, &[MONDAY + n as i32; 50])], Commit::default()).await.unwrap();
    }
    let check = async |session: &datafusion::prelude::SessionContext| {
        let last = i64::from(MONDAY + 5) * 86_400_000_000 + 299 * 1_001;
        for sql in ["select max(at), min(at) from bronze.events", "select max(at), min(at) from bronze.events where n >= 0"] {
            let batches = query(session, sql).await;
            let time = |column: usize| batches[0].column(column).as_primitive::<TimestampMicrosecondType>().value(0);
            assert_eq!((time(0), time(1)), (last, i64::from(MONDAY) * 86_400_000_000), "{sql}");
        }
        let at = "at >= timestamp '2026-11-28T00:00:00.299299Z'";
        assert_eq!(count(session, &format!("select count(*) from bronze.events where {at}")).await, 1);
        assert_eq!(count(session, "select count(*) from bronze.events where id = 'event-000123'").await, 1);
        assert_eq!(count(session, "select count(*) from bronze.events where day = '2026-11-25'").await, 50);
        assert_eq!(count(session, "select count(*) from bronze.events").await, 300);
        assert_eq!(count(session, "select count(payload) from bronze.events").await, 200);
    };
    check(&lake.session().await.unwrap()).await;
    table.checkpoint().await.unwrap();
    check(&lake.session().await.unwrap()).await;
}

async fn results_have_plain_types(place: Place) {
    let lake = place.lake().await;
    let mut table = lake.table(&spec()).await.unwrap();
    table.append(vec![day_rows(0, 1)], Commit::default()).await.unwrap();
    let batches = query(&lake.session().await.unwrap(), "select *, 'x' as constant, upper(id) as shout from bronze.events").await;
    let types: Vec<DataType> = batches[0].schema().fields().iter().map(|field| field.data_type().clone()).collect();
    let mut expect: Vec<DataType> = schema().fields().iter().map(|field| field.data_type().clone()).collect();
    expect.extend([DataType::Utf8, DataType::Utf8]);
    assert_eq!(types, expect);
}

async fn a_query_has_bounded_memory_and_spills(place: Place) {
    // Enough for the merges of all partitions at once, whichever of them are ahead, and far less than the rows.
    let options = Options { query_memory_bytes_max: 32 << 20, ..Options::default() };
    let lake = place.lake_with(options).await;
    let mut table = lake.table(&spec()).await.unwrap();
    let batches = (0..50).map(|n| day_rows(n * 10_000, 10_000)).collect();
    table.append(batches, Commit::default()).await.unwrap();
    let session = lake.session().await.unwrap();
    let sql = "select id, n, payload from bronze.events order by id desc";
    let plan = query(&session, &format!("explain analyze {sql}")).await;
    let plan = arrow::util::pretty::pretty_format_batches(&plan).unwrap().to_string();
    assert!(plan.contains("spill_count=") && !plan.contains("spill_count=0,"), "{plan}");
    let sorted = query(&session, sql).await;
    assert_eq!(sorted.iter().map(|batch| batch.num_rows()).sum::<usize>(), 500_000);
    assert_eq!(sorted[0].column(1).as_primitive::<Int64Type>().value(0), 499_999);
}

/// Any engine that reads Delta reads these tables; here the Delta library alone, without this crate.
#[tokio::test(flavor = "multi_thread")]
async fn the_delta_library_reads_the_table() {
    let place = Place::folder();
    let lake = place.lake().await;
    let mut table = lake.table(&spec()).await.unwrap();
    for n in 0..12 {
        table.append(vec![rows(n * 2, &[MONDAY, MONDAY + 1])], progress(&[("a", n + 1)])).await.unwrap();
    }
    let foreign = deltalake::open_table(lake.location().join("bronze/events/").unwrap()).await.unwrap();
    assert_eq!(foreign.version(), Some(12));
    let state = foreign.snapshot().unwrap();
    assert_eq!((state.protocol().min_reader_version(), state.protocol().min_writer_version()), (1, 2));
    assert_eq!(state.log_data().num_files(), 24);
    let session = datafusion::prelude::SessionContext::new();
    session.register_table("t", foreign.table_provider().await.unwrap()).unwrap();
    assert_eq!(count(&session, "select sum(n) from t").await, (0..24).sum::<i64>());

    // And what it writes, the lake reads.
    let appended = foreign.write(vec![day_rows(24, 3)]).await.unwrap();
    assert_eq!(appended.version(), Some(13));
    table.refresh().await.unwrap();
    let files = table.added(12, 13).await.unwrap();
    assert_eq!(numbers(&table.read(&files, None).await.unwrap()), [24, 25, 26]);
    assert!(files[0].info.is_empty());
    let batch = &table.read(&files, Some(&["payload"])).await.unwrap()[0];
    assert_eq!((batch.column(0).null_count(), batch.column(0).data_type().clone()), (1, DataType::Binary));
}
