use super::*;
use deltalake::logstore::object_store::ObjectStoreExt as _;

fn at(folder: &tempfile::TempDir, name: &str) -> Path {
    Path::from_filesystem_path(folder.path().join(name))
        .unwrap_or_else(|_| Path::parse(format!("{}/{name}", folder.path().display()).trim_start_matches('/')).unwrap())
}

async fn text(store: &Durable, path: &Path) -> String {
    String::from_utf8(store.get(path).await.unwrap().bytes().await.unwrap().to_vec()).unwrap()
}

/// Names below the folder, the ones that listings hide among them.
fn names(folder: &tempfile::TempDir) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_first_to_create_a_name_wins() {
    let folder = tempfile::tempdir().unwrap();
    let store = Durable::new();
    let path = at(&folder, "0.json");
    let create = || PutOptions::from(PutMode::Create);
    store.put_opts(&path, "first".into(), create()).await.unwrap();
    let second = store.put_opts(&path, "second".into(), create()).await;
    assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");
    assert_eq!(text(&store, &path).await, "first");
    assert_eq!(names(&folder), ["0.json"], "nothing is left beside it");
}

#[tokio::test]
async fn racing_creates_have_one_winner() {
    let folder = tempfile::tempdir().unwrap();
    let store = Durable::new();
    for round in 0..20 {
        let path = at(&folder, &format!("log/{round}.json"));
        let racers = (0..8).map(|racer| {
            let (store, path) = (store.clone(), path.clone());
            tokio::spawn(async move { store.put_opts(&path, format!("{racer}").into(), PutMode::Create.into()).await.is_ok() })
        });
        let won: Vec<bool> = futures::future::join_all(racers).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
        let winner = won.iter().position(|won| *won).unwrap();
        assert_eq!(text(&store, &path).await, winner.to_string());
    }
}

#[tokio::test]
async fn overwriting_replaces_and_new_folders_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = Durable::new();
    let path = at(&folder, "a/b/c.parquet");
    store.put(&path, "one".into()).await.unwrap();
    store.put(&path, "two".into()).await.unwrap();
    assert_eq!(text(&store, &path).await, "two");
    let listed: Vec<ObjectMeta> = store.list(Some(&at(&folder, "a"))).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn an_upload_in_parts_has_its_name_only_when_complete() {
    let folder = tempfile::tempdir().unwrap();
    let store = Durable::new();
    let path = at(&folder, "big.parquet");
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part("first ".into()).await.unwrap();
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    upload.put_part("second".into()).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(text(&store, &path).await, "first second");
    assert_eq!(names(&folder), ["big.parquet"]);
}

#[tokio::test]
async fn copies_and_renames_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let store = Durable::new();
    let (one, two, three) = (at(&folder, "1"), at(&folder, "2"), at(&folder, "3"));
    store.put(&one, "x".into()).await.unwrap();
    store.copy_if_not_exists(&one, &two).await.unwrap();
    assert!(store.copy_if_not_exists(&one, &two).await.is_err());
    store.rename(&two, &three).await.unwrap();
    assert_eq!(names(&folder), ["1", "3"]);
    assert_eq!(text(&store, &three).await, "x");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "not a folder").unwrap();
    let refused = Durable::new().put(&at(&folder, "file/below"), "x".into()).await;
    assert!(refused.is_err());
}

/// Both ways of listing give the same.
#[tokio::test]
async fn listing_from_an_offset_is_what_the_inner_store_lists() {
    let folder = tempfile::tempdir().unwrap();
    let store = Durable::new();
    for name in ["log/00.json", "log/01.json", "log/02.json", "log/02.json.0f.tmp", "log/_last", "log/inner/05.json", "other/09.json"] {
        store.put(&at(&folder, name), "x".into()).await.unwrap();
    }
    fs::write(folder.path().join("log/03.json#1"), "unfinished").unwrap();
    let check = async |prefix: &str, offset: &str| {
        let (prefix, offset) = (at(&folder, prefix), at(&folder, offset));
        let sorted = async |list: BoxStream<'static, Result<ObjectMeta>>| {
            let mut all: Vec<(String, u64)> = list.map_ok(|file| (file.location.to_string(), file.size)).try_collect().await.unwrap();
            all.sort();
            all
        };
        let ours = sorted(store.list_with_offset(Some(&prefix), &offset)).await;
        assert_eq!(ours, sorted(store.inner.list_with_offset(Some(&prefix), &offset)).await, "{prefix} {offset}");
        ours.len()
    };
    assert_eq!(check("log", "log/00.json").await, 5);
    assert_eq!(check("log", "log/02.json").await, 3);
    assert_eq!(check("log", "log/zz").await, 0);
    assert_eq!(check("missing", "missing/00").await, 0);
    assert_eq!(check("log", "other/00").await, 0);
}
