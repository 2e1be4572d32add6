//! The validators of a genesis.

use super::election::Elected;
use super::keys::{KEYS_PER_OWNER, Place, check_endpoint};
use super::state::{Rules, Seed, Validators};
use super::{SEATS_MAX, UNBONDING_TERMS_MAX};
use crate::context::Context;
use crate::env::Failure;
use crate::genesis::{GenesisConfig, invalid};

impl Validators {
    /// Writes the rules, the bonds and keys of the first validators, and the committees of the first two
    /// terms: one seat a key.
    pub(crate) fn found(
        &self,
        cx: &mut Context<'_>,
        config: &GenesisConfig,
    ) -> Result<(), Failure> {
        let rules = &config.seats;
        let sound = rules.term_length >= 2
            && (1..=SEATS_MAX).contains(&rules.seats_max)
            && (1..=UNBONDING_TERMS_MAX).contains(&rules.unbonding_terms)
            && rules.bond_min > 0;
        if !sound {
            return Err(invalid("the rules of terms and seats are out of range"));
        }
        let seats = u64::try_from(config.validators.len()).unwrap_or(u64::MAX);
        if seats == 0 || seats > rules.seats_max {
            return Err(invalid("there is no validator, or more than seats"));
        }
        let written = Rules {
            length: rules.term_length,
            seats_max: rules.seats_max,
            unbonding_terms: rules.unbonding_terms,
        };
        self.rules.set(cx, &written)?;
        self.bond_min.set(cx, &rules.bond_min)?;
        for validator in &config.validators {
            let (key, owner, account) = (validator.key, validator.owner, validator.account);
            if validator.bond < rules.bond_min || owner.is_zero() || account.is_zero() {
                return Err(invalid("a validator has no account or too small a bond"));
            }
            if !self.keys.get(cx, key)?.owner.is_zero() {
                return Err(invalid("a validator's key stands twice"));
            }
            if self.owners.get(cx, owner)?.keys >= KEYS_PER_OWNER {
                return Err(invalid("an owner has too many keys"));
            }
            check_endpoint(&validator.endpoint)?;
            self.add_bond(cx, owner, validator.bond)?;
            let place = Place { owner, order: self.next_order(cx)?, account };
            let seed = Seed::new(&validator.seed_key.0, &validator.possession.0);
            self.insert(cx, key, place, &seed)?;
            if !validator.endpoint.is_empty() {
                let endpoint = validator.endpoint.as_bytes();
                self.endpoints.at_key(cx, key)?.set(cx, endpoint)?;
            }
        }
        self.first_committees(cx, config)
    }

    fn first_committees(
        &self,
        cx: &mut Context<'_>,
        config: &GenesisConfig,
    ) -> Result<(), Failure> {
        let mut elected = Vec::with_capacity(config.validators.len());
        for validator in &config.validators {
            let owner = self.owners.get(cx, validator.owner)?;
            let backing = owner.bond / u128::from(owner.keys.max(1));
            elected.push(Elected { key: validator.key, owner: validator.owner, backing });
        }
        self.install(cx, 0, elected.clone())?;
        self.install(cx, 1, elected)
    }
}
