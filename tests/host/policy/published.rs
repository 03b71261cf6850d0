//! The published policy: clients read it, so each byte of it stays.

use std::time::Duration;

use oncegate::config::Policy;
use oncegate::config::publish::{iso8601, published};
use serde_json::json;

use crate::make::vars;

#[test]
fn a_route_is_published_in_this_order_and_spelling() {
    let routes = json!([
        {
            "name": "charge",
            "path": "/p/{id}",
            "key": { "from": ["template:a-{header:X-Shop}", "body:/a~1b", "query:é\""] },
            "fingerprint": { "body": ["/a"], "query": false, "headers": ["X-Tenant"] },
            "on_duplicate": "fail_on_running",
            "outcome": {
                "preset": "success-only",
                "in_doubt": [404],
                "when": [
                    { "status": [200, 201], "body": "/approved", "is": false, "then": "release" },
                    { "status": 503, "header": "X-Maintenance", "present": true, "then": "in_doubt" },
                ],
            },
            "wait": "1500ms",
            "tombstone": "36h",
        },
        { "name": "hidden", "path": "/hidden", "publish": false },
        { "name": "disabled", "path": "/off", "mode": "off" },
    ]);
    let document = published(&Policy::parse(&vars([("ROUTES", routes)])).unwrap());
    let route = concat!(
        r#"{"routes":[{"name":"charge","mode":"enforce","methods":["POST","PATCH"],"path":"/p/{id}","#,
        r#""key":{"from":["template:a-{header:x-shop}","body:/a~1b","query:é\""],"required":false,"#,
        r#""grammar":"1 to 255 characters: a structured-field string (RFC 8941), or bare visible ASCII "#,
        r#"without quotes, commas, semicolons and backslashes"},"#,
        r#""fingerprint":{"body":["/a"],"except":[],"query":false,"headers":["x-tenant"]},"#,
        r#""on_duplicate":"fail_on_running","client_strategies":["RETURN_EXISTING","FAIL"],"#,
        r#""outcome":{"preset":"success-only","store":["200-299"],"#,
        r#""release":["300-403","405-501","503","505-519","521","523","525-599"],"#,
        r#""in_doubt":["404","502","504","520","522","524"],"#,
        r#""when":[{"status":[200,201],"body":"/approved","is":false,"then":"release"},"#,
        r#"{"status":[503],"header":"x-maintenance","present":true,"then":"in_doubt"}]},"#,
        r#""async":"never","wait":"PT1.5S","timeout":"PT1M","ttl":"P1D","tombstone":"P1DT12H"}],"#,
        r#""problems":[{"code":"key-missing","status":400,"title":"#,
    );
    assert!(document.starts_with(route), "{document}");
}

#[test]
fn durations_are_those_of_iso_8601() {
    for (ms, text) in [
        (0, "PT0S"),
        (50, "PT0.05S"),
        (1_500, "PT1.5S"),
        (60_000, "PT1M"),
        (5_400_000, "PT1H30M"),
        (86_400_000, "P1D"),
        (93_784_050, "P1DT2H3M4.05S"),
    ] {
        assert_eq!(iso8601(Duration::from_millis(ms)), text);
    }
}
