"""The part of Firestore's wire format that the store needs."""
