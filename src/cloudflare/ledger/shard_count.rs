//! The number of shards is a promise of the first day: what is asked under another one is refused.

use wasm_bindgen::JsValue;

use super::Shard;
use crate::cloudflare::bindings;
use crate::cloudflare::ledger_stub::call;
use crate::protocol::{Ask, Told};
use crate::request::key::KeyId;
use crate::wire::{self, Addressed, VERSION};

impl Shard {
    /// The number of shards that this data was first used with. A shard that has none yet asks shard 0,
    /// which every number of shards has: under another number a known key would be unknown, and run again.
    pub(super) async fn first_shards(
        &self,
        ask: &Ask,
        key: KeyId,
        shards: u16,
    ) -> Result<u16, JsValue> {
        let store = self.store()?;
        let known = match self.shards.get() {
            Some(known) => Some(known),
            None => store.shards()?,
        };
        let first = match known {
            Some(known) => known,
            None if matches!(ask, Ask::Shards) || key.shard(shards) == 0 => {
                store.remember_shards(shards)?
            }
            None => {
                let first = self.ask_shard_0(key, shards).await?;
                if first == shards { store.remember_shards(shards)? } else { first }
            }
        };
        if known.is_some() || first == shards {
            self.shards.set(Some(first));
        }
        Ok(first)
    }

    async fn ask_shard_0(&self, key: KeyId, shards: u16) -> Result<u16, JsValue> {
        let head = wire::write_ask(&Addressed { key, shards, ask: Ask::Shards }, VERSION);
        match call(&bindings::ledger(&self.env), 0, None, &head, None).await?.0 {
            Told::Kept(_) => Ok(shards),
            Told::OtherShards(first) => Ok(first),
            _ => Err(JsValue::from_str("shard 0 does not say how many shards there are")),
        }
    }
}
