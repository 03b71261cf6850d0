//! Senders of webhooks whose habits are known, as defaults of a route.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A sender of webhooks, by the name of its preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WebhookSender {
    /// Stripe; the event's id lies in the body.
    StripeWebhook,
    /// GitHub.
    GithubWebhook,
    /// Shopify.
    ShopifyWebhook,
    /// Whoever follows <https://www.standardwebhooks.com>.
    StandardWebhooks,
    /// Svix.
    Svix,
}

impl WebhookSender {
    /// The knobs that its habits set. Redeliveries differ in small ways, come again after any answer but
    /// 2xx, and go to receivers that must bear at-least-once delivery anyway.
    pub(super) fn habits(self) -> Map<String, Value> {
        // Where it puts the id that it repeats on every redelivery.
        let key = match self {
            Self::StripeWebhook => json!(["body:/id"]),
            // Two Apps on one repository get two deliveries under one GUID, told apart by the webhook's id.
            // Older servers of GitHub Enterprise send no such id.
            Self::GithubWebhook => json!([
                "template:{header:X-GitHub-Delivery}.{header:X-GitHub-Hook-ID}",
                "header:X-GitHub-Delivery",
            ]),
            // Shopify's newer Events API has no X- before the name (shopify.dev, docs/apps/build/events).
            Self::ShopifyWebhook => {
                json!(["header:X-Shopify-Webhook-Id", "header:Shopify-Webhook-Id"])
            }
            Self::StandardWebhooks => json!(["header:webhook-id"]),
            Self::Svix => json!(["header:svix-id"]),
        };
        let mut habits = Map::from_iter([
            ("key".to_owned(), json!({ "from": key })),
            ("outcome".to_owned(), json!({ "preset": "success-only" })),
            ("fingerprint".to_owned(), json!({ "body": "none" })),
            ("on_in_doubt".to_owned(), json!("retry")),
            ("ttl".to_owned(), json!("7d")),
        ]);
        if self == Self::GithubWebhook {
            // Payloads are capped at 25 MB (docs.github.com, webhooks/webhook-events-and-payloads).
            habits.insert("request".to_owned(), json!({ "max": "25MiB" }));
        }
        habits
    }
}
