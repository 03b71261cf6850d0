//! `npm run check` finds what is wrong with a configuration, and says which knob.
#![allow(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

use std::path::PathBuf;
use std::process::Command;

/// One broken line of a route each, and the knob that must be named.
const ROUTE: [(&str, &str); 53] = [
    ("name = \"\"", "ROUTES[0].name"),
    ("name = \"two words\"", "ROUTES[0].name"),
    ("name = 7", "ROUTES[0].name"),
    ("nam = \"charge\"", "ROUTES[0].nam: is not a knob; the nearest one is name"),
    ("methods = \"POST\"", "ROUTES[0].methods"),
    ("methods = []", "ROUTES[0].methods"),
    ("methods = [\"post\"]", "ROUTES[0].methods"),
    ("path = \"v1/payments\"", "ROUTES[0].path"),
    ("path = \"/v1/payments?x=1\"", "ROUTES[0].path"),
    ("path = \"/v1/zahlungen/ü\"", "ROUTES[0].path"),
    ("path = \"/v1/{id\"", "ROUTES[0].path"),
    ("path = \"/v1/{*rest}/more\"", "ROUTES[0].path"),
    ("path = \"/v1/img-{n}.png\"", "ROUTES[0].path"),
    ("path = \"/v1/*\"", "ROUTES[0].path: is \"/v1/*\", but must have its parameters in braces"),
    ("path = \"/v1/*/charge\"", "ROUTES[0].path"),
    ("path = \"/v1/:id\"", "ROUTES[0].path"),
    ("methods = [\"GET\", \"HEAD\"]", "ROUTES[0].methods"),
    ("mode = \"on\"", "ROUTES[0].mode"),
    ("preset = \"paypal-webhook\"", "ROUTES[0].preset"),
    ("key = true", "ROUTES[0].key"),
    ("key = [[\"header:A\"], true]", "ROUTES[0].key"),
    ("key = { required = \"yes\" }", "ROUTES[0].key.required"),
    (
        "key = { requird = true }",
        "ROUTES[0].key.requird: is not a knob; the nearest one is key.required",
    ),
    ("key = { from = [] }", "ROUTES[0].key.from"),
    ("key = { from = [], required = true }", "ROUTES[0].key.required"),
    ("key = { from = [\"cookie:key\"] }", "ROUTES[0].key.from"),
    ("key = { from = [\"header:two words\"] }", "ROUTES[0].key.from"),
    ("key = { from = [\"body:id\"] }", "ROUTES[0].key.from"),
    ("key = { from = [\"template:fixed\"] }", "ROUTES[0].key.from"),
    ("key = { from = [\"template:{header:A}{header:B}\"] }", "ROUTES[0].key.from"),
    ("key = { from = [\"template:{nothing}\"] }", "ROUTES[0].key.from"),
    ("key = { from = [\"template:{header:A\"] }", "ROUTES[0].key.from"),
    ("scope = [\"tenant\"]", "ROUTES[0].scope"),
    ("credential = [\"query:token\"]", "ROUTES[0].credential"),
    ("credential_change = \"allow\"", "ROUTES[0].credential_change"),
    ("fingerprint = { body = \"xml\" }", "ROUTES[0].fingerprint.body"),
    ("fingerprint = { body = [\"amount\"] }", "ROUTES[0].fingerprint.body"),
    ("fingerprint = { query = 0 }", "ROUTES[0].fingerprint.query"),
    ("on_duplicate = \"replay\"", "ROUTES[0].on_duplicate"),
    ("client_strategies = \"fail\"", "ROUTES[0].client_strategies"),
    ("wait = 10", "ROUTES[0].wait"),
    ("wait = \"2h\"", "ROUTES[0].wait"),
    ("timeout = \"0s\"", "ROUTES[0].timeout"),
    ("outcome = { preset = \"lenient\" }", "ROUTES[0].outcome.preset"),
    ("outcome = { store = [99] }", "ROUTES[0].outcome.store"),
    ("outcome = { store = [402], release = [402] }", "ROUTES[0].outcome"),
    ("on_in_doubt = \"probe\"", "ROUTES[0].on_in_doubt"),
    ("on_in_doubt = \"retry\"\nforward_key = \"none\"", "ROUTES[0].on_in_doubt"),
    ("probe = \"/by-key\"", "ROUTES[0].probe"),
    ("ttl = \"3 fortnights\"", "ROUTES[0].ttl"),
    ("reply = { max = \"8MB\" }", "ROUTES[0].reply.max"),
    ("reply = { keep = [\"connection\"] }", "ROUTES[0].reply.keep"),
    ("cors = [\"app.example.com\"]", "ROUTES[0].cors"),
];

/// Broken `[vars]`, and the name that must be said.
const VARS: [(&str, &str); 16] = [
    ("ORIGIN = \"origin.example.com\"", "ORIGIN"),
    ("ORIGIN = \"ftp://origin.example.com\"", "ORIGIN"),
    ("ORIGIN = \"https://user:pass@origin.example.com\"", "ORIGIN"),
    ("ORIGIN = \"https://origin.example.com/v1\"", "ORIGIN: has a path"),
    ("ORIGIN = \"https://origin.example.com?x\"", "ORIGIN: has a path"),
    ("ADMIN_TOKEN = \"0123456789abcdef\"", "ADMIN_TOKEN: is a secret"),
    ("LOG_KEY = \"0123456789abcdef0123456789abcdef\"", "LOG_KEY: is a secret"),
    ("JURISDICTION = \"mars\"", "JURISDICTION"),
    ("routes = []", "routes: is not a var of the filter; the nearest one is ROUTES"),
    ("SHARDS = 0", "SHARDS"),
    ("SHARDS = 1025", "SHARDS"),
    ("SHARDS = \"many\"", "SHARDS"),
    ("SHARD = 16", "SHARD: is not a var of the filter; the nearest one is SHARDS"),
    ("LOCATION_HINT = \"mars\"", "LOCATION_HINT"),
    ("ROUTES = \"charge\"", "ROUTES"),
    ("ROUTES_3 = []", "ROUTES_3"),
];

#[test]
fn each_broken_knob_is_found_and_named() {
    for (number, (line, named)) in ROUTE.iter().enumerate() {
        let (code, said) = check(
            &format!("route-{number}"),
            &format!("[vars]\n[[vars.ROUTES]]\n{line}\n{LEDGER}"),
        );
        assert_eq!(code, 1, "{line}\n{said}");
        assert!(said.contains(&format!("error: {named}")), "{line}\n{said}");
    }
}

#[test]
fn each_broken_var_is_found_and_named() {
    for (number, (line, named)) in VARS.iter().enumerate() {
        let (code, said) = check(&format!("vars-{number}"), &format!("[vars]\n{line}\n{LEDGER}"));
        assert_eq!(code, 1, "{line}\n{said}");
        assert!(said.contains(&format!("error: {named}")), "{line}\n{said}");
    }
}

#[test]
fn routes_of_which_one_can_never_match_are_found() {
    let routes = "[vars]\n[[vars.ROUTES]]\npath = \"/a/{x}\"\n[[vars.ROUTES]]\npath = \"/a/{y}\"\n";
    let (code, said) = check("twins", &format!("{routes}{LEDGER}"));
    assert!(code == 1 && said.contains("error: ROUTES[1].path"), "{said}");
}

#[test]
fn a_var_that_is_too_large_is_found_with_its_size() {
    let route = format!("[[vars.ROUTES]]\npath = \"/{}\"\n", "a".repeat(5 * 1024));
    let (code, said) = check("large", &format!("[vars]\n{route}{LEDGER}"));
    assert!(code == 1 && said.contains("error: ROUTES: holds 51"), "{said}");
}

#[test]
fn a_ledger_that_is_not_bound_and_an_origin_that_is_bound_twice_are_found() {
    let (code, said) = check("unbound", "[vars]\n");
    assert!(code == 1 && said.contains("error: LEDGER"), "{said}");
    let both = format!(
        "[vars]\nORIGIN = \"https://a.example\"\n[[services]]\nbinding = \"ORIGIN\"\nservice = \"o\"\n{LEDGER}"
    );
    let (code, said) = check("both", &both);
    assert!(code == 1 && said.contains("error: ORIGIN"), "{said}");
}

#[test]
fn a_class_without_tables_or_without_a_migration_is_found() {
    let without = LEDGER.split("[[migrations]]").next().unwrap();
    for (migrations, named) in [
        ("", "migrations: must name the class"),
        (
            "[[migrations]]\ntag = \"v1\"\nnew_classes = [\"Ledger\"]\n",
            "migrations: names Ledger under new_classes",
        ),
        ("[exports.Ledger]\ntype = \"durable-object\"\n", "exports.Ledger.storage"),
    ] {
        let (code, said) = check("class", &format!("{without}{migrations}"));
        assert!(code == 1 && said.contains(&format!("error: {named}")), "{said}");
    }
    for sound in [
        "[exports.Ledger]\ntype = \"durable-object\"\nstorage = \"sqlite\"\n",
        "[[migrations]]\ntag = \"v1\"\nnew_sqlite_classes = [\"Ledger\"]\n",
    ] {
        let (code, said) = check("class", &format!("{without}{sound}"));
        assert_eq!(code, 0, "{said}");
    }
    let elsewhere = without.replace("class_name", "script_name = \"other\"\nclass_name");
    assert_eq!(check("class", &elsewhere).0, 0, "another Worker has the class");
}

#[test]
fn an_asynchronous_route_needs_its_class_and_time_that_no_deploy_takes() {
    let route = |knobs: &str| {
        format!(
            "compatibility_date = \"2026-10-15\"\n[vars]\nORIGIN = \"https://a.example\"\n[[vars.ROUTES]]\nname = \"slow\"\npath = \"/a\"\nttl = \"30d\"\n{knobs}\n{LEDGER}{RUNNER}"
        )
    };
    let allow = "async = \"allow\"\n";
    let binding = RUNNER.split("[[migrations]]").next().unwrap();
    let minutes = |n: u32| format!("{allow}timeout = \"{n}m\"\n");
    let patient = |max: u32, mode: &str| {
        format!(
            "{}[durable_objects.code_update_strategy]\nmode = \"{mode}\"\nmax_delay = {max}\n",
            route(&minutes(10))
        )
    };
    for (text, named) in [
        (route(allow), None),
        (route("async = \"always\"\n"), None),
        (route(&minutes(4)), None),
        (patient(615, "deferred"), None),
        (patient(614, "deferred"), Some("route slow: timeout: lets a call last 615 s")),
        (patient(615, "immediate"), Some("route slow: timeout: lets a call last 615 s")),
        (route(&minutes(10)), Some("route slow: timeout: lets a call last 615 s")),
        (route(&minutes(15)), Some("ROUTES[0].timeout: is longer than the 14 minutes")),
        (
            route(allow).replace("2026-10-15", "2026-09-30"),
            Some("route slow: async: needs compatibility_date = \"2026-10-01\" or later"),
        ),
        (route(allow).replace(RUNNER, ""), Some("ROUTES[0].async: needs the class Runner")),
        (
            route(allow).replace(RUNNER, binding),
            Some("migrations: must name the class: [[migrations]] with tag = \"v2\""),
        ),
        (
            route("async = \"always\"\nreply = { stream = [] }\n"),
            Some("ROUTES[0].reply.stream: names replies to be streamed, but async is always"),
        ),
        (route("async = \"allow\"\nreply = { stream = [] }\n"), None),
        (route("async = \"never\"\ntimeout = \"20m\"\n").replace(RUNNER, ""), None),
        (route("async = \"sometimes\"\n"), Some("ROUTES[0].async")),
        (
            route(&format!(
                "{allow}[[vars.ROUTES]]\nname = \"slow\"\npath = \"/b\"\nttl = \"30d\"\n"
            )),
            Some("ROUTES[0].name: is another route's too"),
        ),
    ] {
        let (code, said) = check("async", &text);
        assert_eq!(code == 1, named.is_some(), "{text}\n{said}");
        assert!(named.is_none_or(|named| said.contains(named)), "{said}");
    }
}

#[test]
fn routes_outside_of_vars_are_found() {
    let (code, said) = check("outside", &format!("[[ROUTES]]\npath = \"/a\"\n{LEDGER}"));
    assert!(code == 1 && said.contains("error: ROUTES: stands outside vars"), "{said}");
    let zone = "routes = [{ pattern = \"a.example/*\", zone_name = \"a.example\" }]\n";
    assert_eq!(check("outside", &format!("{zone}{LEDGER}")).0, 0, "these are Wrangler's own");
}

#[test]
fn requests_that_have_nowhere_to_go_are_a_warning() {
    let origin = "[vars]\nORIGIN = \"https://a.example\"\n";
    let service = "[[services]]\nbinding = \"ORIGIN\"\nservice = \"o\"\n";
    let zone = "route = \"a.example/*\"\n";
    for (line, warns) in [("", true), (origin, false), (service, false), (zone, false)] {
        let (code, said) = check("nowhere", &format!("{line}{LEDGER}"));
        assert!(code == 0 && said.contains("warning: ORIGIN: is not set") == warns, "{line}{said}");
    }
}

#[test]
fn json_with_comments_is_read_as_wrangler_reads_it() {
    let ledger = r#""durable_objects": { "bindings": [{ "name": "LEDGER", "class_name": "Ledger" }] }, "migrations": [{ "tag": "v1", "new_sqlite_classes": ["Ledger"] }]"#;
    for (vars, code, said) in [
        (r#""ORIGIN": "https://a.example", // the origin"#, 0, "sound"),
        (r#""SHARDS": 0, /* none */"#, 1, "error: SHARDS"),
        (r#""ROUTES": [{ "pth": "/a" }]"#, 1, "error: ROUTES[0].pth"),
        (r#""ORIGIN": "#, 2, "error: "),
    ] {
        let text = format!("{{ // Wrangler\n \"vars\": {{ {vars}\n }},\n {ledger} }}");
        for name in ["commented.jsonc", "commented.json"] {
            assert_eq!(said_of(&["-c", &written(name, &text)]).0, code, "{vars}");
            assert!(said_of(&[&written(name, &text)]).1.contains(said), "{vars}");
        }
    }
}

#[test]
fn of_two_configurations_the_one_that_wrangler_takes_is_checked_and_the_other_is_named() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("two");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("wrangler.toml"), LEDGER).unwrap();
    std::fs::write(folder.join("wrangler.jsonc"), "{ \"vars\": { \"SHARDS\": 0 } }").unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_check")).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(said.contains("wrangler.jsonc: error: SHARDS"), "{said}");
    assert!(said.contains("wrangler.jsonc: warning: wrangler.toml: lies beside it"), "{said}");
}

#[test]
fn an_environment_has_the_migrations_of_the_file_and_no_other_of_its_parts() {
    let staging =
        "[[env.staging.durable_objects.bindings]]\nname = \"LEDGER\"\nclass_name = \"Ledger\"\n";
    let top = format!("[vars]\nORIGIN = \"https://a.example\"\n{LEDGER}");
    let (code, said) = check("inherits", &format!("{top}{staging}"));
    assert!(code == 0 && said.contains("warning: env.staging: ORIGIN: is not set"), "{said}");
    let (code, said) = check("inherits", &format!("{top}[env.staging.vars]\nSHARDS = 16\n"));
    assert!(code == 1 && said.contains("error: env.staging: LEDGER: is not bound"), "{said}");
}

/// A route, and these tables of vars.
fn with_jobs(tables: &str) -> String {
    let route = "[[vars.ROUTES]]\npath = \"/jobs/{*rest}\"\nttl = \"14d\"\n";
    format!("[vars]\nORIGIN = \"https://a.example\"\n{route}{tables}{LEDGER}")
}

#[test]
fn a_schedule_agrees_with_its_trigger_and_its_key_tells_slots_apart() {
    let schedule = |cron: &str, key: &str, more: &str| {
        format!(
            "[[vars.SCHEDULES]]\nname = \"s\"\ncron = \"{cron}\"\nkey = \"{key}\"\nrequest = {{ url = \"https://a.example/jobs/s\" }}\n{more}[triggers]\ncrons = [\"0 2 * * *\"]\n"
        )
    };
    let daily = "s-{scheduled_time:date}";
    for (cron, key, more, named) in [
        ("0 2 * * *", daily, "", None),
        ("0 2 * * *", "s-{scheduled_time:unix}", "", None),
        ("0 2 * * *", "s", "on_duplicate = \"fail_on_running\"\n", None),
        (
            "0 2  * * *",
            daily,
            "",
            Some("schedule s: cron: is \"0 2  * * *\", which is not in [triggers]"),
        ),
        ("0 2 * * *", "s", "", Some("SCHEDULES[0].key: is the same for every slot")),
    ] {
        let (code, said) = check("schedule", &with_jobs(&schedule(cron, key, more)));
        assert_eq!(code == 1, named.is_some(), "{said}");
        assert!(named.is_none_or(|named| said.contains(named)), "{said}");
    }
    for (cron, key, code) in [
        ("0 * * * *", daily, 1),
        ("0 * * * *", "s-{scheduled_time:minute}", 0),
        ("*/30 2 * * *", daily, 1),
        ("0 2,14 * * *", daily, 1),
        ("0 2 1 * *", daily, 0),
        ("0 2 * * 1-7", daily, 0),
        ("0 2 * *", daily, 1),
        ("every night", daily, 1),
    ] {
        let text = schedule(cron, key, "")
            .replace("crons = [\"0 2 * * *\"]", &format!("crons = [\"{cron}\"]"));
        let (found, said) = check("fineness", &with_jobs(&text));
        assert_eq!(found, code, "{cron} {key}: {said}");
    }
}

#[test]
fn a_trigger_without_a_schedule_and_a_schedule_without_a_route_are_found() {
    let (code, said) = check("trigger", &format!("{LEDGER}[triggers]\ncrons = [\"0 2 * * *\"]\n"));
    assert!(
        code == 1 && said.contains("triggers.crons: has \"0 2 * * *\", which no schedule has"),
        "{said}"
    );
    let open = "[[vars.SCHEDULES]]\nname = \"s\"\ncron = \"0 2 * * *\"\nkey = \"{scheduled_time:date}\"\nrequest = { url = \"https://a.example/open\" }\n";
    let (code, said) = check("open", &with_jobs(open));
    assert!(code == 1 && said.contains("which no route guards"), "{said}");
}

#[test]
fn a_queue_is_consumed_and_has_somewhere_to_put_what_is_refused() {
    let table = "[[vars.QUEUES]]\nqueue = \"jobs\"\nkey = \"message-id\"\nrequest = { url = \"https://a.example/jobs/q\" }\n";
    let consumer = "[[queues.consumers]]\nqueue = \"jobs\"\n";
    let dead = format!("{consumer}dead_letter_queue = \"dead\"\n");
    let aside = format!("{consumer}[[queues.producers]]\nqueue = \"aside\"\nbinding = \"ASIDE\"\n");
    for (tables, named) in [
        (format!("{table}{dead}"), None),
        (format!("{table}{aside}"), None),
        (
            table.to_owned(),
            Some("queue jobs: is in QUEUES, but [[queues.consumers]] does not name it"),
        ),
        (format!("{table}{consumer}"), Some("queue jobs: has nowhere to put")),
        (dead, Some("queue jobs: is consumed, but has no table")),
    ] {
        let (code, said) = check("queue", &with_jobs(&tables));
        assert_eq!(code == 1, named.is_some(), "{said}");
        assert!(named.is_none_or(|named| said.contains(named)), "{said}");
    }
}

#[test]
fn a_binding_may_have_a_name_that_would_be_a_misspelt_var() {
    let bound = "[[kv_namespaces]]\nbinding = \"SHARED\"\nid = \"1\"\n[[services]]\nbinding = \"ROUTER\"\nservice = \"r\"\n";
    let (code, said) = check("bound", &format!("{LEDGER}{bound}"));
    assert!(code == 0 && !said.contains("SHARED") && !said.contains("ROUTER"), "{said}");
}

#[test]
fn a_var_that_nobody_reads_is_a_warning() {
    let (code, said) = check("unread", &format!("[vars]\nGREETING = \"hi\"\n{LEDGER}"));
    assert!(code == 0 && said.contains("warning: GREETING: is a var that"), "{said}");
}

#[test]
fn environments_are_checked_too() {
    let staging = format!("{LEDGER}[env.staging.vars]\nSHARDS = 0\n");
    let (code, said) = check("staging", &staging);
    assert!(code == 1 && said.contains("error: env.staging: SHARDS"), "{said}");
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let vars = "[vars]\nSHARDS = 0\n[[vars.ROUTES]]\nttl = 1\nwait = 1\n";
    let (code, said) = check("all", &format!("{vars}{LEDGER}"));
    assert!(code == 1 && said.matches("error:").count() == 3, "{said}");
}

#[test]
fn payments_that_are_soon_forgotten_are_a_warning_and_no_error() {
    let route = "[vars]\n[[vars.ROUTES]]\nname = \"charge\"\n";
    for (line, warns) in [("", true), ("ttl = \"7d\"\n", false), ("tombstone = \"30d\"\n", false)] {
        let (code, said) = check("payments", &format!("{route}{line}{LEDGER}"));
        assert!(code == 0 && said.contains("warning: route charge: ttl") == warns, "{line}{said}");
    }
}

#[test]
fn what_cannot_be_read_is_another_exit_code() {
    assert_eq!(check("broken", "[vars").0, 2);
}

#[test]
fn our_own_configuration_is_sound() {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("wrangler.toml");
    let ran = Command::new(env!("CARGO_BIN_EXE_check")).arg(own).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}

/// Exit code and output for a wrangler.toml of this text.
fn check(name: &str, text: &str) -> (i32, String) {
    said_of(&[&written(&format!("{name}.toml"), text)])
}

/// Exit code and output for these arguments.
fn said_of(args: &[&str]) -> (i32, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_check")).args(args).output().unwrap();
    (ran.status.code().unwrap(), String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// Writes a file; returns its path.
fn written(name: &str, text: &str) -> String {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

const RUNNER: &str = "[[durable_objects.bindings]]\nname = \"RUNNER\"\nclass_name = \"Runner\"\n[[migrations]]\ntag = \"v2\"\nnew_sqlite_classes = [\"Runner\"]\n";
const LEDGER: &str = "[[durable_objects.bindings]]\nname = \"LEDGER\"\nclass_name = \"Ledger\"\n[[migrations]]\ntag = \"v1\"\nnew_sqlite_classes = [\"Ledger\"]\n";
