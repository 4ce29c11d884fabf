//! Downloads from a hub on this machine: whole, broken off, refused, redirected, wrong; and none where none is needed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod server;

use blockllm_hub::{Cache, Hub, HubError, Repository, TimeOuts};
use server::{COMMIT, Does, Request, Server, git_hash, sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const CONFIG: &str = "{}\n";

fn files() -> Vec<(&'static str, Vec<u8>)> {
    let weights = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    vec![
        ("config.json", CONFIG.into()),
        ("model.safetensors", weights),
        ("tokenizer.json", b"{\"tokens\": []}".to_vec()),
        ("README.md", b"not taken".to_vec()),
    ]
}

fn repository() -> Repository {
    "owner/small-model".parse().unwrap()
}

fn hub(cache: &Path, endpoint: &str) -> Hub {
    Hub::new(Cache::new(cache), endpoint).with_time_outs(TimeOuts {
        connect: Duration::from_secs(5),
        read: Duration::from_secs(5),
        retry: Duration::from_millis(1),
    })
}

fn fetched(hub: &Hub) -> Result<PathBuf, HubError> {
    hub.model(&repository(), &mut |_| ())
}

fn blob(cache: &Path, hash: &str) -> PathBuf {
    cache.join("models--owner--small-model/blobs").join(hash)
}

#[test]
fn a_model_comes_once_in_the_layout_of_the_hubs_own_cache() {
    let (cache, server) = (
        tempfile::tempdir().unwrap(),
        Server::new(&files(), |_, _| Does::Serve),
    );
    let hub = hub(cache.path(), &server.endpoint);
    let mut told = Vec::new();
    let folder = hub
        .model(&repository(), &mut |progress| {
            told.push((progress.file.to_owned(), progress.done, progress.total));
        })
        .unwrap();
    assert!(folder.ends_with(format!("models--owner--small-model/snapshots/{COMMIT}")));
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["config.json", "model.safetensors", "tokenizer.json"]);
    for (name, content) in files()
        .iter()
        .filter(|(name, _)| names.contains(&(*name).to_owned()))
    {
        assert!(fs::read(folder.join(name)).unwrap() == *content, "{name}");
        let hash = if name.ends_with("safetensors") {
            sha256(content)
        } else {
            git_hash(content)
        };
        assert!(blob(cache.path(), &hash).is_file(), "{name}");
        #[cfg(unix)]
        assert!(fs::read_link(folder.join(name)).unwrap().is_relative());
    }
    let main = folder.join("../../refs/main");
    assert_eq!(fs::read_to_string(main).unwrap(), COMMIT);
    let total = told[0].2;
    assert_eq!(total, 3_000_000 + CONFIG.len() as u64 + 14);
    assert!(told.is_sorted_by_key(|(_, done, _)| *done), "{told:?}");
    assert_eq!(told.last(), Some(&("config.json".to_owned(), total, total)));

    let before = server.requests().len();
    assert_eq!(fetched(&hub).unwrap(), folder);
    assert_eq!(server.requests().len(), before, "it is in the cache");
    assert_eq!(fetched(&hub.offline()).unwrap(), folder);
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was_also_in_another_process() {
    let does = |request: &Request, before| match before {
        _ if !request.path.ends_with("safetensors") => Does::Serve,
        0 => Does::BreakOffAfter(1_000_000),
        1..=5 => Does::Status(503),
        6 => Does::BreakOffAfter(500_000),
        _ => Does::Serve,
    };
    let (cache, server) = (tempfile::tempdir().unwrap(), Server::new(&files(), does));
    let error = fetched(&hub(cache.path(), &server.endpoint)).unwrap_err();
    assert!(matches!(error, HubError::Network { .. }), "{error}");
    assert!(error.to_string().contains("the same line goes on"), "{error}");
    assert!(
        Cache::new(cache.path()).snapshot(&repository()).is_none(),
        "not whole"
    );

    let folder = fetched(&hub(cache.path(), &server.endpoint)).unwrap();
    assert!(fs::read(folder.join("model.safetensors")).unwrap() == files()[1].1);
    let from: Vec<usize> = server
        .requests_to("safetensors")
        .iter()
        .map(|request| request.from)
        .collect();
    assert_eq!(from[0], 0);
    assert!(from[1..].iter().all(|from| *from >= 1_000_000), "{from:?}");
    assert_eq!(*from.last().unwrap(), 1_500_000);
}

#[test]
fn a_server_that_knows_no_ranges_begins_anew() {
    let does = |request: &Request, before| match before {
        0 if request.path.ends_with("safetensors") => Does::BreakOffAfter(1_000_000),
        _ => Does::IgnoreRange,
    };
    let (cache, server) = (tempfile::tempdir().unwrap(), Server::new(&files(), does));
    let folder = fetched(&hub(cache.path(), &server.endpoint)).unwrap();
    assert!(fs::read(folder.join("model.safetensors")).unwrap() == files()[1].1);
}

#[test]
fn a_file_with_another_hash_is_removed_and_told() {
    let does = |request: &Request, before| match before {
        0 if request.path.ends_with("safetensors") => Does::Lie,
        _ => Does::Serve,
    };
    let (cache, server) = (tempfile::tempdir().unwrap(), Server::new(&files(), does));
    let hub = hub(cache.path(), &server.endpoint);
    let error = fetched(&hub).unwrap_err();
    assert!(
        matches!(&error, HubError::Hash { file, .. } if file == "model.safetensors"),
        "{error}"
    );
    let hash = sha256(&files()[1].1);
    assert!(!blob(cache.path(), &hash).exists());
    assert!(!blob(cache.path(), &format!("{hash}.incomplete")).exists());
    assert!(fetched(&hub).is_ok(), "the second time it comes right");
}

#[test]
fn a_token_goes_to_the_hub_alone_and_is_in_no_message() {
    const TOKEN: &str = "hf_secret";
    let storage = Server::new(&files(), |_, _| Does::Serve);
    let to = storage.endpoint.replace("127.0.0.1", "localhost");
    let does = move |request: &Request, _| {
        if request.path.ends_with("safetensors") {
            Does::Redirect(to.clone())
        } else {
            Does::Serve
        }
    };
    let (cache, server) = (tempfile::tempdir().unwrap(), Server::new(&files(), does));
    let with_token = hub(cache.path(), &server.endpoint).with_token(TOKEN).unwrap();
    fetched(&with_token).unwrap();
    let sent = Some(format!("Bearer {TOKEN}"));
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.authorization == sent)
    );
    let elsewhere = storage.requests();
    assert_eq!(elsewhere.len(), 1);
    assert_eq!(elsewhere[0].authorization, None);
    assert!(!format!("{with_token:?}").contains(TOKEN));

    let closed = Server::new(&files(), |_, _| Does::Status(401));
    let other = tempfile::tempdir().unwrap();
    let error = fetched(&hub(other.path(), &closed.endpoint).with_token(TOKEN).unwrap()).unwrap_err();
    let message = format!("{error} {error:?}");
    assert!(
        message.contains("private or gated") && message.contains("HF_TOKEN was sent"),
        "{message}"
    );
    assert!(!message.contains(TOKEN));
    let error = hub(other.path(), "http://x")
        .with_token("hf_\nsecret")
        .unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
}

#[test]
fn what_cannot_be_had_is_told_with_what_to_do() {
    let cache = tempfile::tempdir().unwrap();
    let message = |hub: &Hub| fetched(hub).unwrap_err().to_string();
    let missing = Server::new(&files(), |_, _| Does::Status(404));
    let text = message(&hub(cache.path(), &missing.endpoint));
    assert!(
        text.contains("owner/small-model") && text.contains("HF_TOKEN"),
        "{text}"
    );
    let strange = Server::new(&files(), |_, _| Does::Status(418));
    assert!(message(&hub(cache.path(), &strange.endpoint)).contains("418"));
    let offline = hub(cache.path(), &missing.endpoint).offline();
    assert!(message(&offline).contains("HF_HUB_OFFLINE"));
    // Nobody listens there: the port was given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let text = message(&hub(cache.path(), &nobody));
    assert!(
        text.contains("does not answer") && text.contains("without a network"),
        "{text}"
    );
    let silent = Server::new(&files(), |_, _| Does::Hang);
    let impatient = hub(cache.path(), &silent.endpoint).with_time_outs(TimeOuts {
        connect: Duration::from_secs(1),
        read: Duration::from_millis(100),
        retry: Duration::from_millis(1),
    });
    assert!(message(&impatient).contains("does not answer"));
}

#[test]
fn names_are_two_words_that_cannot_leave_the_cache() {
    for name in [
        "no/such/folder",
        "../x",
        "-a/b",
        "plain",
        "a/b c",
        "a/..",
        "/a",
        "a/",
    ] {
        let error = name.parse::<Repository>().unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(repository().to_string(), "owner/small-model");
}

#[test]
fn a_token_follows_redirects_on_the_hub_itself() {
    let does = |request: &Request, before| {
        if before == 0 && request.path.ends_with("tokenizer.json") {
            Does::Redirect(String::new())
        } else {
            Does::Serve
        }
    };
    let (cache, server) = (tempfile::tempdir().unwrap(), Server::new(&files(), does));
    fetched(&hub(cache.path(), &server.endpoint).with_token("hf_x").unwrap()).unwrap();
    let asked = server.requests_to("tokenizer.json");
    assert_eq!(asked.len(), 2);
    assert!(
        asked.iter().all(|request| request.authorization.is_some()),
        "{asked:?}"
    );
}

#[test]
fn several_at_once_get_the_same_model() {
    let (cache, server) = (
        tempfile::tempdir().unwrap(),
        Server::new(&files(), |_, _| Does::Serve),
    );
    let folders: Vec<PathBuf> = std::thread::scope(|scope| {
        let fetch = || fetched(&hub(cache.path(), &server.endpoint)).unwrap();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(fetch)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(folders.iter().all(|folder| *folder == folders[0]));
    assert!(fs::read(folders[0].join("model.safetensors")).unwrap() == files()[1].1);
    assert_eq!(server.requests_to("safetensors").len(), 1, "it came once");
}

#[test]
fn the_snapshot_that_main_points_to_comes_first_and_one_that_is_not_whole_is_none() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("models--owner--small-model");
    let write = |commit: &str, file: &str, text: &str| {
        let snapshot = folder.join("snapshots").join(commit);
        fs::create_dir_all(&snapshot).unwrap();
        fs::write(snapshot.join(file), text).unwrap();
    };
    for commit in ["aaa", "bbb", "ccc", "ddd"] {
        write(commit, "config.json", "{}");
    }
    write("aaa", "model.safetensors", "");
    let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    for commit in ["bbb", "ccc"] {
        write(commit, "model.safetensors.index.json", index);
        write(commit, "model-1.safetensors", "");
    }
    write("bbb", "model-2.safetensors", "");
    fs::create_dir_all(folder.join("refs")).unwrap();
    let found = || Cache::new(cache.path()).snapshot(&repository()).unwrap();
    assert!(
        found().ends_with("bbb"),
        "of ccc a shard is missing, of ddd all weights are"
    );
    for (main, expected) in [("aaa\n", "aaa"), ("ccc", "bbb")] {
        fs::write(folder.join("refs/main"), main).unwrap();
        assert!(found().ends_with(expected), "{main}");
    }
}
