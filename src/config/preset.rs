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
            Self::StripeWebhook => "body:/id",
            Self::GithubWebhook => "header:X-GitHub-Delivery",
            Self::ShopifyWebhook => "header:X-Shopify-Webhook-Id",
            Self::StandardWebhooks => "header:webhook-id",
            Self::Svix => "header:svix-id",
        };
        Map::from_iter([
            ("key".to_owned(), json!({ "from": [key] })),
            ("outcome".to_owned(), json!({ "preset": "success-only" })),
            ("fingerprint".to_owned(), json!({ "body": "none" })),
            ("on_in_doubt".to_owned(), json!("retry")),
            ("ttl".to_owned(), json!("7d")),
        ])
    }
}
