//! The number of shards is a promise of the first day: a claim that names another number is refused.

use super::Shard;
use crate::cloudflare::env;
use crate::cloudflare::error::Error;
use crate::cloudflare::ledger_stub::call;
use crate::lifecycle::event::Event;
use crate::protocol::{LedgerAnswer, LedgerRequest, Question, VERSION, write_request};
use crate::request::key::KeyId;

impl Shard {
    /// The number of shards that this data was first used with, as far as this shard knows it.
    pub(super) fn known_shards(&self) -> Result<Option<u16>, Error> {
        if self.shards.get().is_none() {
            self.shards.set(self.store()?.shards()?);
        }
        Ok(self.shards.get())
    }

    /// The number of shards that this data was first used with. A shard that does not know it yet asks shard
    /// 0, which is there whatever the number: under another number a known key would be unknown, and run again.
    pub(super) async fn first_shards(&self, key_id: KeyId, shards: u16) -> Result<u16, Error> {
        if let Some(first) = self.known_shards()? {
            return Ok(first);
        }
        if key_id.shard(shards) == 0 {
            return self.first_shards_in_shard_0(shards);
        }
        let first = self.ask_shard_0(key_id, shards).await?;
        if first == shards { self.remember_shards(shards) } else { Ok(first) }
    }

    /// The same in shard 0: on the first use of all, the number that is named becomes the first.
    pub(super) fn first_shards_in_shard_0(&self, shards: u16) -> Result<u16, Error> {
        match self.known_shards()? {
            Some(first) => Ok(first),
            None => self.remember_shards(shards),
        }
    }

    fn remember_shards(&self, shards: u16) -> Result<u16, Error> {
        let first = self.store()?.remember_shards(shards)?;
        self.shards.set(Some(first));
        Ok(first)
    }

    async fn ask_shard_0(&self, key_id: KeyId, shards: u16) -> Result<u16, Error> {
        let question = Question::<Event>::Shards;
        let head = write_request(&LedgerRequest { key_id, shards, question }, VERSION);
        match call(&env::ledgers(&self.env)?, 0, None, &head, None).await?.0 {
            LedgerAnswer::SameShards => Ok(shards),
            LedgerAnswer::OtherShards(first) => Ok(first),
            _ => Err(Error::NoShardCount),
        }
    }
}
