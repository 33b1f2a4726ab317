# The words of every mail in English, in Project Fluent's syntax: https://projectfluent.org/fluent/guide/
#
# Texts are plain text, never HTML. For each value that a mail may lack there is a word that says whether it is there:
# { $amount } and { $has_amount }, which is yes or no. docs/mail.md lists them all.

date = { $day } { $month ->
        [1] January
        [2] February
        [3] March
        [4] April
        [5] May
        [6] June
        [7] July
        [8] August
        [9] September
        [10] October
        [11] November
       *[12] December
    } { $year }

# Between units and minor units, and between groups of three digits.
money-decimal = .
money-group = ,
# Only symbols that one currency alone has for the readers of this language; an empty one gives way to the code.
money-symbol =
    { $code ->
        [USD] $
        [EUR] €
        [GBP] £
        [BRL] R$
       *[other] {""}
    }
money-with-symbol = { $symbol }{ $number }
money-with-code = { $code } { $number }

greeting =
    { $has_recipient ->
        [yes] Hello { $recipient },
       *[no] Hello,
    }
footer =
    { $is_owner ->
        [yes] You receive this mail because you own the workspace { $workspace }.
       *[no] You receive this mail because you are a billing contact of the workspace { $workspace }.
    }

# What links are called where a mail does not say better.
links =
    .link-invoice = View the invoice
    .link-portal = Manage billing
    .link-app = Open { $workspace }

# A paragraph or a detail that comes out empty is left out. A detail shows the value that it is named after.
payment_failed =
    .subject =
        { $stage ->
            [last] Last attempt failed: payment for { $workspace } did not go through
            [later] Payment for { $workspace } failed again
           *[first] Payment for { $workspace } did not go through
        }
    .preheader =
        { $stage ->
            [last] We will not try again by ourselves. Please pay the invoice.
           *[other]
                { $has_next_attempt_on ->
                    [yes] We will try again on { $next_attempt_on }.
                   *[no] Please check your payment method.
                }
        }
    .heading =
        { $stage ->
            [last] The last attempt to collect your payment failed
            [later] Your payment failed again
           *[first] Your payment did not go through
        }
    .paragraph-1 =
        { $is_later ->
            [yes] We tried again, and could not
           *[no] We could not
        }
        { $has_amount ->
            [yes] collect the payment of { $amount } for { $workspace }.
           *[no] collect the payment for { $workspace }.
        }
    .paragraph-2 =
        { $stage ->
            [last]
                This was the last attempt: we will not try again by ourselves. If the invoice stays unpaid,
                the subscription ends and the workspace moves to the free plan.
           *[other]
                { $has_next_attempt_on ->
                    [yes]
                        We will try again on { $next_attempt_on }. So that the workspace keeps its plan, please
                        see to it that the payment can go through by then.
                   *[no]
                        We will try again. So that the workspace keeps its plan, please see to it that the
                        payment can go through.
                }
        }
    .paragraph-3 =
        { $way ->
            [invoice] You can pay now, with the same or with another payment method, on the invoice's page.
            [portal] Please check your payment method in the billing portal.
            [app] Please check your payment method in the billing settings.
           *[none] Please check your payment method.
        }
    .detail-number = Invoice
    .detail-amount = Amount due
    .detail-attempt = Attempt
    .detail-next_attempt_on = Next attempt
    .link-invoice = Pay the invoice
    .link-portal = Change the payment method

payment_action_required =
    .subject = Please confirm the payment for { $workspace }
    .preheader =
        { $has_amount ->
            [yes] Your bank wants you to confirm this payment of { $amount }.
           *[no] Your bank wants you to confirm this payment.
        }
    .heading = Your bank asks you to confirm a payment
    .paragraph-1 =
        { $has_amount ->
            [yes] Your bank did not release the payment of { $amount } for { $workspace } yet: it wants you to confirm it first.
           *[no] Your bank did not release the payment for { $workspace } yet: it wants you to confirm it first.
        }
    .paragraph-2 =
        { $way ->
            [invoice] It takes a minute, on the invoice's page.
            [portal] You can do so in the billing portal.
            [app] You can do so in the billing settings.
           *[none] {""}
        } Without your confirmation the payment fails.
    .detail-number = Invoice
    .detail-amount = Amount due
    .detail-next_attempt_on = Next attempt
    .link-invoice = Confirm the payment

payment_succeeded =
    .subject = Payment received for { $workspace }
    .preheader =
        { $has_amount ->
            [yes] Thank you: we received { $amount }.
           *[no] Thank you.
        }
    .heading = Thank you for your payment
    .paragraph-1 =
        { $has_amount ->
            [yes] We received your payment of { $amount } for { $workspace }
           *[no] We received your payment for { $workspace }
        }{ $has_paid_on ->
            [yes] {" "}on { $paid_on }.
           *[no] .
        }
    .paragraph-2 =
        { $has_invoice ->
            [yes] The invoice is kept for you at the link below.
           *[no] {""}
        }
    .detail-number = Invoice
    .detail-amount = Amount paid
    .detail-paid_on = Date

credits_granted =
    .subject = Your credits for { $workspace } are ready
    .preheader =
        { $has_credits ->
            [yes]
                { $credits ->
                    [one] { $credits } credit was added to your workspace.
                   *[other] { $credits } credits were added to your workspace.
                }
           *[no] Credits were added to your workspace.
        }
    .heading = Your credits are ready
    .paragraph-1 =
        { $has_credits ->
            [yes]
                { $credits ->
                    [one] { $credits } credit was added to { $workspace }. You can use it right away.
                   *[other] { $credits } credits were added to { $workspace }. You can use them right away.
                }
           *[no] The credits you bought were added to { $workspace }. You can use them right away.
        }
    .detail-plan = Purchase
    .detail-credits = Credits

subscription_cancelled =
    .subject = The subscription of { $workspace } is cancelled
    .preheader =
        { $has_ends_on ->
            [yes] Everything stays as it is until { $ends_on }.
           *[no] Everything stays as it is until the end of the paid period.
        }
    .heading = Your subscription is cancelled
    .paragraph-1 =
        The subscription of { $workspace } will not be renewed. Everything stays as it is until
        { $has_ends_on ->
            [yes] { $ends_on };
           *[no] the end of the paid period;
        } after that the workspace moves to the free plan.
    .paragraph-2 =
        { $has_portal ->
            [yes] If you change your mind, you can resume the subscription in the billing portal until then.
           *[no] If you change your mind, you can resume the subscription until then.
        }
    .detail-plan = Plan
    .detail-ends_on = Ends on
    .link-portal = Resume the subscription

subscription_ended =
    .subject = The subscription of { $workspace } has ended
    .preheader = The workspace is on the free plan now.
    .heading = Your subscription has ended
    .paragraph-1 =
        { $has_plan ->
            [yes] The subscription ({ $plan }) of { $workspace } has ended, and the workspace is on the free plan now.
           *[no] The subscription of { $workspace } has ended, and the workspace is on the free plan now.
        }
    .paragraph-2 = You can subscribe again at any time.
    .link-app = Subscribe again

trial_ending =
    .subject =
        { $has_trial_ends_on ->
            [yes] The trial of { $workspace } ends on { $trial_ends_on }
           *[no] The trial of { $workspace } ends soon
        }
    .preheader =
        { $goes_on ->
            [yes] The subscription goes on by itself after that.
           *[no] Choose a plan to keep what the trial gives you.
        }
    .heading =
        { $has_trial_ends_on ->
            [yes] Your trial ends on { $trial_ends_on }
           *[no] Your trial ends soon
        }
    .paragraph-1 =
        { $has_plan ->
            [yes] The trial of the { $plan } plan for { $workspace }
           *[no] The trial for { $workspace }
        }
        { $has_trial_ends_on ->
            [yes] ends on { $trial_ends_on }.
           *[no] ends soon.
        }
    .paragraph-2 =
        { $goes_on ->
            [yes]
                You need not do anything: the subscription goes on, and the first payment is collected then.
                { $has_portal ->
                    [yes] If you do not want that, you can cancel before in the billing portal.
                   *[no] If you do not want that, you can cancel before.
                }
           *[no]
                After that the workspace moves to the free plan. To go on with what the trial gives you, choose a plan.
        }
    .detail-plan = Plan
    .detail-trial_ends_on = Trial ends on
    .link-app =
        { $goes_on ->
            [yes] Open { $workspace }
           *[no] Choose a plan
        }

trial_expired =
    .subject = The trial of { $workspace } has ended
    .preheader = Choose a plan to keep what the trial gave you.
    .heading = Your trial has ended
    .paragraph-1 =
        { $has_plan ->
            [yes] The trial of the { $plan } plan for { $workspace }
           *[no] The trial for { $workspace }
        }
        { $has_trial_ends_on ->
            [yes] ended on { $trial_ends_on }, and the workspace is on the free plan now.
           *[no] ended, and the workspace is on the free plan now.
        }
    .paragraph-2 = To go on with what the trial gave you, choose a plan.
    .link-app = Choose a plan
