use std::net::SocketAddr;

use stun_types::attribute::{AttributeType, ErrorCode, UnknownAttributes, XorMappedAddress};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, IntegrityKey, Message, MessageClass, MessageType, MessageWrite,
    MessageWriteExt, MessageWriteMutSlice, StunWriteError, TransactionId,
};

use crate::packet::Request;

/// Longest response in bytes: header 20, error with phrase 24, eight unknown attributes 20,
/// HMAC-SHA256 36, FINGERPRINT 8; a success with an IPv6 address is 88.
const MAX_RESPONSE: usize = 128;

/// How a response is signed: with the algorithm that the request used.
pub(crate) type Signature<'a> = (&'a IntegrityKey, IntegrityAlgorithm);

/// Writes a success response for `remote` into `reply`.
pub(crate) fn success(
    request: &Request<'_>,
    remote: SocketAddr,
    signature: Signature<'_>,
    reply: &mut Vec<u8>,
) -> Result<(), StunWriteError> {
    let id = TransactionId::from(request.transaction_id());
    // A dual-stack socket reports an IPv4 peer as an IPv4-mapped IPv6 address; the peer knows itself
    // by the IPv4 one.
    let mapped = SocketAddr::new(remote.ip().to_canonical(), remote.port());
    write(
        request,
        MessageClass::Success,
        Some(signature),
        reply,
        |message| message.add_attribute(&XorMappedAddress::new(mapped, id)),
    )
}

/// Writes an error response into `reply`, leaving it empty where that would be longer than the request.
pub(crate) fn error(
    request: &Request<'_>,
    code: u16,
    signature: Option<Signature<'_>>,
    reply: &mut Vec<u8>,
) -> Result<(), StunWriteError> {
    // The phrase is for people reading a capture, and goes first when there is no room.
    for phrase in [ErrorCode::default_reason_for_code(code), ""] {
        write(request, MessageClass::Error, signature, reply, |message| {
            message.add_attribute(&ErrorCode::new(code, phrase)?)?;
            if code == ErrorCode::UNKNOWN_ATTRIBUTE {
                let mut unknown = UnknownAttributes::new(&[]);
                for kind in request.unknown() {
                    unknown.add_attribute(AttributeType::new(*kind));
                }
                message.add_attribute(&unknown)?;
            }
            Ok(())
        })?;
        if reply.len() <= request.len() {
            return Ok(());
        }
    }
    reply.clear();
    Ok(())
}

fn write(
    request: &Request<'_>,
    class: MessageClass,
    signature: Option<Signature<'_>>,
    reply: &mut Vec<u8>,
    body: impl FnOnce(&mut MessageWriteMutSlice<'_>) -> Result<(), StunWriteError>,
) -> Result<(), StunWriteError> {
    let mut buffer = [0; MAX_RESPONSE];
    let mut message = Message::builder(
        MessageType::from_class_method(class, BINDING),
        TransactionId::from(request.transaction_id()),
        MessageWriteMutSlice::new(&mut buffer),
    );
    body(&mut message)?;
    if let Some((key, algorithm)) = signature {
        message.add_message_integrity_with_key(key, algorithm)?;
    }
    message.add_fingerprint()?;
    let len = message.finish();
    reply.clear();
    reply.extend_from_slice(&buffer[..len]);
    Ok(())
}
