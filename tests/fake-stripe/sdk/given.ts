// What an answer is made of, by the types of the official library: as it travels, where decimal numbers are texts, and without
// the words that a later version of Stripe might use.
import type Stripe from "stripe";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type OtherString = string & Record<never, never>;

export type Given<T> = T extends string
  ? Same<T, OtherString> extends true
    ? never
    : T
  : T extends Stripe.Decimal
    ? string
    : T extends (infer Item)[]
      ? Given<Item>[]
      : T extends object
        ? { [Name in keyof T]: Given<T[Name]> }
        : T;
