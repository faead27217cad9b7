//! Secrets out of the system's random source, without bias.

use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::SecretString;
use shop_plan::SecretAlphabet;
use zeroize::Zeroizing;

use super::VaultError;

const ALNUM: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const HEX: &[u8] = b"0123456789abcdef";

/// A new secret of this many characters.
pub fn secret(alphabet: SecretAlphabet, length: u16) -> Result<SecretString, VaultError> {
    let characters = match alphabet {
        SecretAlphabet::Alnum => ALNUM,
        SecretAlphabet::Hex => HEX,
    };
    // Bytes from here up would make the first characters likelier.
    let bound = 256 - 256 % characters.len();
    let random = SystemRandom::new();
    let mut text = Zeroizing::new(String::with_capacity(usize::from(length)));
    let mut bytes = Zeroizing::new([0; 64]);
    while text.len() < usize::from(length) {
        random.fill(&mut *bytes).map_err(|_| VaultError::Random)?;
        for byte in bytes.iter().map(|byte| usize::from(*byte)) {
            if byte < bound && text.len() < usize::from(length) {
                text.push(char::from(characters[byte % characters.len()]));
            }
        }
    }
    Ok(SecretString::from(text.as_str()))
}
