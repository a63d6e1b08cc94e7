// The bytes that a text in base64 stands for.
import { decode } from "as-base64/assembly";

// Where lists cross.
export const nimblenet_area: usize = memory.data(512, 8);

export function run(text: usize, length: u32, bytes: usize, room: u32): u32 {
  const decoded = decode(String.UTF8.decodeUnsafe(text, length));
  if (<u32>decoded.length > room) unreachable();
  memory.copy(bytes, decoded.dataStart, decoded.length);
  return decoded.length;
}
