//! What several fuzz targets do.

use eider_protocol::{Body, Identity, Signed};

/// A signed frame, both as a payload and as a body that carries a valid signature.
pub fn signed<T: Body + Clone + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let identity = Identity::from_seed([42; 32]);
    if let Ok(signed) = Signed::<T>::open(bytes, identity.node_id()) {
        assert_eq!(signed.to_payload().len(), bytes.len());
    }
    if let Some(message) = Signed::<T>::parse_body(bytes) {
        let again = Signed::sign(&identity, message);
        assert_eq!(Signed::<T>::open(&again.to_payload(), identity.node_id()).as_ref(), Ok(&again));
    }
}
