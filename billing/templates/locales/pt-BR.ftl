# Os textos de todos os e-mails em português do Brasil, na sintaxe do Project Fluent; en.ftl explica a forma.

date = { $day } de { $month ->
        [1] janeiro
        [2] fevereiro
        [3] março
        [4] abril
        [5] maio
        [6] junho
        [7] julho
        [8] agosto
        [9] setembro
        [10] outubro
        [11] novembro
       *[12] dezembro
    } de { $year }

money-decimal = ,
money-group = .
money-symbol =
    { $code ->
        [BRL] R$
        [USD] US$
        [EUR] €
        [GBP] £
       *[other] {""}
    }
money-with-symbol = { $symbol } { $number }
money-with-code = { $code } { $number }

greeting =
    { $has_recipient ->
        [yes] Olá, { $recipient }!
       *[no] Olá!
    }
footer =
    { $is_owner ->
        [yes] Você recebe este e-mail porque é responsável pelo workspace { $workspace }.
       *[no] Você recebe este e-mail porque é contato de cobrança do workspace { $workspace }.
    }

links =
    .link-invoice = Ver a fatura
    .link-portal = Gerenciar a cobrança
    .link-app = Abrir { $workspace }

payment_failed =
    .subject =
        { $stage ->
            [last] Última tentativa sem sucesso: o pagamento de { $workspace } não foi aprovado
            [later] O pagamento de { $workspace } falhou de novo
           *[first] O pagamento de { $workspace } não foi aprovado
        }
    .preheader =
        { $stage ->
            [last] Não tentaremos de novo automaticamente. Por favor, pague a fatura.
           *[other]
                { $has_next_attempt_on ->
                    [yes] Tentaremos de novo em { $next_attempt_on }.
                   *[no] Por favor, confira sua forma de pagamento.
                }
        }
    .heading =
        { $stage ->
            [last] A última tentativa de cobrança falhou
            [later] Seu pagamento falhou de novo
           *[first] Seu pagamento não foi aprovado
        }
    .paragraph-1 =
        { $is_later ->
            [yes] Tentamos de novo e não conseguimos
           *[no] Não conseguimos
        }
        { $has_amount ->
            [yes] cobrar o pagamento de { $amount } do workspace { $workspace }.
           *[no] cobrar o pagamento do workspace { $workspace }.
        }
    .paragraph-2 =
        { $stage ->
            [last]
                Esta foi a última tentativa: não tentaremos de novo automaticamente. Se a fatura continuar em
                aberto, a assinatura será encerrada e o workspace passará para o plano gratuito.
           *[other]
                { $has_next_attempt_on ->
                    [yes]
                        Tentaremos de novo em { $next_attempt_on }. Para que o workspace mantenha o plano, por
                        favor, cuide para que o pagamento possa ser aprovado até lá.
                   *[no]
                        Tentaremos de novo. Para que o workspace mantenha o plano, por favor, cuide para que o
                        pagamento possa ser aprovado.
                }
        }
    .paragraph-3 =
        { $way ->
            [invoice] Você pode pagar agora mesmo, com a mesma forma de pagamento ou com outra, na página da fatura.
            [portal] Por favor, confira sua forma de pagamento no portal de cobrança.
            [app] Por favor, confira sua forma de pagamento nas configurações de cobrança.
           *[none] Por favor, confira sua forma de pagamento.
        }
    .detail-number = Fatura
    .detail-amount = Valor em aberto
    .detail-attempt = Tentativa
    .detail-next_attempt_on = Próxima tentativa
    .link-invoice = Pagar a fatura
    .link-portal = Trocar a forma de pagamento

payment_action_required =
    .subject = Confirme o pagamento de { $workspace }
    .preheader =
        { $has_amount ->
            [yes] Seu banco pede que você confirme este pagamento de { $amount }.
           *[no] Seu banco pede que você confirme este pagamento.
        }
    .heading = Seu banco pede que você confirme um pagamento
    .paragraph-1 =
        { $has_amount ->
            [yes] Seu banco ainda não liberou o pagamento de { $amount } do workspace { $workspace }: antes, ele pede a sua confirmação.
           *[no] Seu banco ainda não liberou o pagamento do workspace { $workspace }: antes, ele pede a sua confirmação.
        }
    .paragraph-2 =
        { $way ->
            [invoice] Leva um minuto, na página da fatura.
            [portal] Você pode confirmar no portal de cobrança.
            [app] Você pode confirmar nas configurações de cobrança.
           *[none] {""}
        } Sem a sua confirmação, o pagamento não será concluído.
    .detail-number = Fatura
    .detail-amount = Valor em aberto
    .detail-next_attempt_on = Próxima tentativa
    .link-invoice = Confirmar o pagamento

payment_succeeded =
    .subject = Pagamento de { $workspace } recebido
    .preheader =
        { $has_amount ->
            [yes] Obrigado: recebemos { $amount }.
           *[no] Obrigado.
        }
    .heading = Obrigado pelo seu pagamento
    .paragraph-1 =
        { $has_amount ->
            [yes] Recebemos o seu pagamento de { $amount } do workspace { $workspace }
           *[no] Recebemos o seu pagamento do workspace { $workspace }
        }{ $has_paid_on ->
            [yes] {" "}em { $paid_on }.
           *[no] .
        }
    .paragraph-2 =
        { $has_invoice ->
            [yes] A fatura fica guardada no link abaixo.
           *[no] {""}
        }
    .detail-number = Fatura
    .detail-amount = Valor pago
    .detail-paid_on = Data

credits_granted =
    .subject = Seus créditos de { $workspace } já estão disponíveis
    .preheader =
        { $has_credits ->
            [yes]
                { $credits ->
                    [one] { $credits } crédito foi adicionado ao seu workspace.
                   *[other] { $credits } créditos foram adicionados ao seu workspace.
                }
           *[no] Créditos foram adicionados ao seu workspace.
        }
    .heading = Seus créditos já estão disponíveis
    .paragraph-1 =
        { $has_credits ->
            [yes]
                { $credits ->
                    [one] { $credits } crédito foi adicionado ao workspace { $workspace }. Você já pode usá-lo.
                   *[other] { $credits } créditos foram adicionados ao workspace { $workspace }. Você já pode usá-los.
                }
           *[no] Os créditos que você comprou foram adicionados ao workspace { $workspace }. Você já pode usá-los.
        }
    .detail-plan = Compra
    .detail-credits = Créditos

subscription_cancelled =
    .subject = A assinatura de { $workspace } foi cancelada
    .preheader =
        { $has_ends_on ->
            [yes] Tudo continua como está até { $ends_on }.
           *[no] Tudo continua como está até o fim do período pago.
        }
    .heading = Sua assinatura foi cancelada
    .paragraph-1 =
        A assinatura do workspace { $workspace } não será renovada. Tudo continua como está até
        { $has_ends_on ->
            [yes] { $ends_on };
           *[no] o fim do período pago;
        } depois disso, o workspace passa para o plano gratuito.
    .paragraph-2 =
        { $has_portal ->
            [yes] Se mudar de ideia, você pode retomar a assinatura no portal de cobrança até lá.
           *[no] Se mudar de ideia, você pode retomar a assinatura até lá.
        }
    .detail-plan = Plano
    .detail-ends_on = Termina em
    .link-portal = Retomar a assinatura

subscription_ended =
    .subject = A assinatura de { $workspace } terminou
    .preheader = O workspace agora está no plano gratuito.
    .heading = Sua assinatura terminou
    .paragraph-1 =
        { $has_plan ->
            [yes] A assinatura ({ $plan }) do workspace { $workspace } terminou, e o workspace agora está no plano gratuito.
           *[no] A assinatura do workspace { $workspace } terminou, e o workspace agora está no plano gratuito.
        }
    .paragraph-2 = Você pode assinar de novo quando quiser.
    .link-app = Assinar de novo

trial_ending =
    .subject =
        { $has_trial_ends_on ->
            [yes] O período de teste de { $workspace } termina em { $trial_ends_on }
           *[no] O período de teste de { $workspace } termina em breve
        }
    .preheader =
        { $goes_on ->
            [yes] Depois disso, a assinatura continua automaticamente.
           *[no] Escolha um plano para manter o que o teste oferece.
        }
    .heading =
        { $has_trial_ends_on ->
            [yes] Seu período de teste termina em { $trial_ends_on }
           *[no] Seu período de teste termina em breve
        }
    .paragraph-1 =
        { $has_plan ->
            [yes] O período de teste do plano { $plan } do workspace { $workspace }
           *[no] O período de teste do workspace { $workspace }
        }
        { $has_trial_ends_on ->
            [yes] termina em { $trial_ends_on }.
           *[no] termina em breve.
        }
    .paragraph-2 =
        { $goes_on ->
            [yes]
                Você não precisa fazer nada: a assinatura continua, e o primeiro pagamento será cobrado nessa data.
                { $has_portal ->
                    [yes] Se não quiser continuar, cancele antes disso no portal de cobrança.
                   *[no] Se não quiser continuar, cancele antes disso.
                }
           *[no]
                Depois disso, o workspace passa para o plano gratuito. Para continuar com o que o teste oferece,
                escolha um plano.
        }
    .detail-plan = Plano
    .detail-trial_ends_on = O teste termina em
    .link-app =
        { $goes_on ->
            [yes] Abrir { $workspace }
           *[no] Escolher um plano
        }

trial_expired =
    .subject = O período de teste de { $workspace } terminou
    .preheader = Escolha um plano para manter o que o teste oferecia.
    .heading = Seu período de teste terminou
    .paragraph-1 =
        { $has_plan ->
            [yes] O período de teste do plano { $plan } do workspace { $workspace }
           *[no] O período de teste do workspace { $workspace }
        }
        { $has_trial_ends_on ->
            [yes] terminou em { $trial_ends_on }, e o workspace agora está no plano gratuito.
           *[no] terminou, e o workspace agora está no plano gratuito.
        }
    .paragraph-2 = Para continuar com o que o teste oferecia, escolha um plano.
    .link-app = Escolher um plano
