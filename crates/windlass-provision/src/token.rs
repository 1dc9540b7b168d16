//! Bootstrap tokens: what one looks like, how one is drawn, and the Secret that holds it.
//!
//! Source: `k8s.io/cluster-bootstrap/token/util` and `k8s.io/kubernetes/pkg/controller/bootstrap`.

mod record;

use std::fmt;
use std::str::FromStr;

use rand::{CryptoRng, RngExt};
use subtle::ConstantTimeEq;
use windlass_aws_client::Secret;

pub use record::{
    ACCOUNT_GROUP_PREFIX, DEFAULT_NODE_GROUP, GroupName, MANAGED_BY_LABEL, MANAGED_BY_ROTATOR,
    NAMESPACE, RecordProblem, SECRET_TYPE, TokenRecord, TokenRequest, Usage, own_group,
};

/// Characters of a token, in both parts.
const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;

/// The public half of a bootstrap token: six characters of `a-z0-9`. It is in the name of the
/// Secret and in logs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(String);

/// A bootstrap token, `<id>.<secret>`. Neither `Debug` nor `Display` prints the secret.
#[derive(Clone)]
pub struct BootstrapToken {
    id: TokenId,
    secret: Secret,
}

/// A text that is no token. The text itself is not repeated: it may be one with a typing error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not an id, a dot and a secret.
    #[error(
        "a bootstrap token is six characters, a dot and sixteen characters, all of a-z and 0-9"
    )]
    Token,
    /// Not an id.
    #[error("the id of a bootstrap token is six characters of a-z and 0-9")]
    Id,
}

impl TokenId {
    /// The six characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of the Secret that holds the token.
    pub fn secret_name(&self) -> String {
        format!("{SECRET_NAME_PREFIX}{}", self.0)
    }

    /// Name of the user that the token logs in as.
    pub fn user_name(&self) -> String {
        format!("system:bootstrap:{}", self.0)
    }
}

/// How the names of all token Secrets begin.
const SECRET_NAME_PREFIX: &str = "bootstrap-token-";

impl FromStr for TokenId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if is_drawn_from_alphabet(text, ID_LENGTH) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TokenError::Id)
        }
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl BootstrapToken {
    /// Draws a token; every character is as likely as every other.
    pub fn generate(random: &mut impl CryptoRng) -> Self {
        Self {
            id: TokenId(draw(random, ID_LENGTH)),
            secret: Secret::new(draw(random, SECRET_LENGTH)),
        }
    }

    /// The public half.
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// The secret half, which is also the key that signs `cluster-info`.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The whole token, as a client sends it.
    pub fn expose(&self) -> Secret {
        Secret::new(format!("{}.{}", self.id, self.secret.expose()))
    }
}

/// Compared in constant time: how long it takes tells nothing of the secret.
impl PartialEq for BootstrapToken {
    fn eq(&self, other: &Self) -> bool {
        let secrets = self
            .secret
            .expose()
            .as_bytes()
            .ct_eq(other.secret.expose().as_bytes());
        self.id == other.id && bool::from(secrets)
    }
}

impl Eq for BootstrapToken {}

impl FromStr for BootstrapToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let (id, secret) = text.split_once('.').ok_or(TokenError::Token)?;
        if !is_drawn_from_alphabet(secret, SECRET_LENGTH) {
            return Err(TokenError::Token);
        }
        Ok(Self {
            id: id.parse().map_err(|_| TokenError::Token)?,
            secret: Secret::new(secret),
        })
    }
}

impl fmt::Display for BootstrapToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.id, "*".repeat(SECRET_LENGTH))
    }
}

impl fmt::Debug for BootstrapToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.[redacted]", self.id)
    }
}

fn is_drawn_from_alphabet(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| ALPHABET.contains(&byte))
}

fn draw(random: &mut impl CryptoRng, length: usize) -> String {
    (0..length)
        .map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    #[test]
    fn a_token_is_an_id_a_dot_and_a_secret() {
        let token: BootstrapToken = "abcdef.0123456789abcdef".parse().unwrap();
        assert_eq!(token.id().as_str(), "abcdef");
        assert_eq!(token.id().secret_name(), "bootstrap-token-abcdef");
        for wrong in [
            "",
            "abcdef",
            "abcdef.",
            "abcde.0123456789abcdef",
            "abcdef.0123456789abcde",
            "abcdef.0123456789abcdef\n",
            " abcdef.0123456789abcdef",
            "ABCDEF.0123456789abcdef",
            "abcdef.0123456789abcde.",
            "abcdeé.0123456789abcdef",
        ] {
            assert_eq!(wrong.parse::<BootstrapToken>(), Err(TokenError::Token));
        }
    }

    #[test]
    fn a_token_is_not_printed() {
        let token: BootstrapToken = "abcdef.0123456789abcdef".parse().unwrap();
        assert_eq!(format!("{token}"), "abcdef.****************");
        assert_eq!(format!("{token:?}"), "abcdef.[redacted]");
        assert_eq!(format!("{:?}", token.expose()), "[redacted]");
    }

    #[test]
    fn every_character_is_as_likely_as_every_other() {
        let mut random = ChaCha20Rng::seed_from_u64(7);
        let mut counts = [0_u32; 36];
        for _ in 0..10_000 {
            let token = BootstrapToken::generate(&mut random);
            let text = token.expose();
            for byte in text.expose().bytes().filter(|byte| *byte != b'.') {
                let index = ALPHABET.iter().position(|other| *other == byte).unwrap();
                counts[index] += 1;
            }
        }
        // 220,000 draws: 6,111 each, standard deviation 77. A `byte % 36` would give the first
        // four 6,875.
        assert!(
            counts.iter().all(|count| (5_750..6_470).contains(count)),
            "{counts:?}"
        );
    }

    proptest! {
        #[test]
        fn what_is_drawn_can_be_read(seed: u64) {
            let token = BootstrapToken::generate(&mut ChaCha20Rng::seed_from_u64(seed));
            prop_assert_eq!(token.expose().expose().parse::<BootstrapToken>(), Ok(token));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            if let Ok(token) = text.parse::<BootstrapToken>() {
                let written = token.expose();
                prop_assert_eq!(written.expose(), text.as_str());
            }
        }
    }
}
